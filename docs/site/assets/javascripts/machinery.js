// A card opens without this script; Escape closes it, until the pointer and the focus have left the word.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const term of document.querySelectorAll(".term:hover, .term:focus-within")) {
      term.classList.add("term--closed");
    }
  }
});
for (const left of ["mouseout", "focusout"]) {
  document.addEventListener(left, (event) => {
    const term = event.target instanceof Element && event.target.closest(".term");
    if (term && !term.contains(event.relatedTarget)) {
      term.classList.remove("term--closed");
    }
  });
}

// What is wider than the page scrolls: then the keyboard must be able to scroll it too. A part that was hidden is
// measured when it is shown.
const wide = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) {
      target.tabIndex = 0;
    } else {
      target.removeAttribute("tabindex");
    }
  }
});
window.addEventListener("load", () => {
  for (const each of document.querySelectorAll(".md-typeset__scrollwrap, div.arithmatex, pre > code")) {
    wide.observe(each);
  }
});

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

// A table that is wider than the page scrolls: then the keyboard must be able to scroll it too.
function letTablesBeScrolled() {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) {
    if (table.scrollWidth > table.clientWidth) {
      table.tabIndex = 0;
    } else {
      table.removeAttribute("tabindex");
    }
  }
}
window.addEventListener("load", letTablesBeScrolled);
window.addEventListener("resize", letTablesBeScrolled);

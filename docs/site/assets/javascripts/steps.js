// Steps: a numbered list becomes a player that shows one still at a time. Without this script, from a reader
// who prints, and for a search engine, the list stays whole.
(() => {
  const words = {
    ko: { previous: "이전", next: "다음", step: "단계", place: (at, all) => `${all}단계 중 ${at}단계` },
    en: { previous: "Previous", next: "Next", step: "step", place: (at, all) => `Step ${at} of ${all}` },
  }[document.documentElement.lang === "ko" ? "ko" : "en"];

  // What scrolls sideways keeps the arrow keys for itself.
  const SCROLLS = "pre [tabindex], .arithmatex[tabindex], .md-typeset__scrollwrap[tabindex], input, select, textarea";

  function button(name, move) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = `steps__${name}`;
    made.textContent = words[name];
    made.setAttribute("aria-label", `${words[name]} ${words.step}`);
    made.addEventListener("click", move);
    return made;
  }

  function play(box, list, number) {
    const stills = [...list.children];
    const last = stills.length - 1;
    let shown = 0;

    const title = box.querySelector(":scope > .admonition-title");
    title.id = `steps-${number}`;
    box.setAttribute("role", "group");
    box.setAttribute("aria-labelledby", title.id);
    list.tabIndex = -1; // a click into a still brings the arrow keys to it

    const previous = button("previous", () => show(shown - 1));
    const next = button("next", () => show(shown + 1));
    const place = document.createElement("p");
    place.className = "steps__place";
    place.setAttribute("aria-live", "polite");
    const bar = document.createElement("div");
    bar.className = "steps__bar";
    bar.append(previous, place, next);
    title.after(bar);

    function show(wanted) {
      shown = Math.min(Math.max(wanted, 0), last);
      stills.forEach((still, index) => {
        still.hidden = index !== shown;
      });
      // Not `disabled`: a button that has the focus must keep it at either end.
      previous.setAttribute("aria-disabled", String(shown === 0));
      next.setAttribute("aria-disabled", String(shown === last));
      const said = document.createElement("span");
      said.className = "llmref-hidden";
      said.textContent = words.place(shown + 1, stills.length);
      const seen = document.createElement("span");
      seen.setAttribute("aria-hidden", "true");
      seen.textContent = `${shown + 1} / ${stills.length}`;
      place.replaceChildren(said, seen);
    }

    box.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: shown - 1, ArrowRight: shown + 1, Home: 0, End: last }[event.key];
      if (to === undefined || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      if (event.target.closest(SCROLLS)) return;
      event.preventDefault();
      show(to);
    });
    box.classList.add("steps--live");
    show(0);
  }

  document.querySelectorAll(".admonition.steps").forEach((box, index) => {
    const list = box.querySelector(":scope > ol");
    if (list && list.children.length > 1) play(box, list, index + 1);
  });
})();

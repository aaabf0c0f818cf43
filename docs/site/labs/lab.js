// Puts the live lab into a frame of the page once its reader asks for it: the model is two megabytes.
import { fill } from "./dom.js";

/** @param {HTMLElement} frame a `.llmref-lab` with its recorded run inside */
async function mount(frame) {
  const load = frame.querySelector(".lab-load");
  const note = frame.querySelector(".lab-note");
  load.disabled = true;
  const words = await fetch(new URL("text.json", import.meta.url)).then((response) => response.json());
  const own = words[frame.lang];
  frame.querySelector(".lab-ask").hidden = true;
  note.hidden = false;
  note.textContent = own.loading;
  try {
    const [{ loadTiny }, { View }] = await Promise.all([import("./load.js"), import("./view.js")]);
    const view = new View(await loadTiny(), own, frame.dataset.prompt);
    const loading = frame.contains(document.activeElement);
    frame.querySelector(".lab-record").replaceWith(view.element);
    frame.classList.add("lab-ready");
    if (loading) view.prompt.focus();
    if ("run" in frame.dataset && !matchMedia("(prefers-reduced-motion: reduce)").matches) view.run();
  } catch (error) {
    note.replaceChildren(fill(own.loadFailed, { reason: error.message }), " ");
    load.textContent = own.retry;
    load.disabled = false;
  }
}

for (const frame of document.querySelectorAll(".llmref-lab")) {
  frame.querySelector(".lab-note").hidden = true; // it is for who has no scripts
  frame.querySelector(".lab-ask").hidden = false;
  const load = frame.querySelector(".lab-load");
  load.hidden = false;
  load.addEventListener("click", () => mount(frame));
}

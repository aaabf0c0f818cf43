// Puts the live lab into every frame of the page, once the frame comes into view.
import { fill } from "./dom.js";
import { loadTiny } from "./load.js";
import { View } from "./view.js";

const texts = fetch(new URL("text.json", import.meta.url)).then((response) => response.json());

/** @param {HTMLElement} frame a `.llmref-lab` with its recorded run inside */
async function mount(frame) {
  const words = (await texts)[frame.lang];
  const load = frame.querySelector(".lab-load");
  const note = frame.querySelector(".lab-note");
  load.disabled = true;
  note.textContent = words.loading;
  try {
    const view = new View(await loadTiny(), words, frame.dataset.prompt);
    const loading = frame.contains(document.activeElement);
    frame.querySelector(".lab-record").replaceWith(view.element);
    frame.classList.add("lab-ready");
    if (loading) view.prompt.focus();
    if ("run" in frame.dataset && !matchMedia("(prefers-reduced-motion: reduce)").matches) view.run();
  } catch (error) {
    note.replaceChildren(fill(words.loadFailed, { reason: error.message }), " ");
    load.textContent = words.retry;
    load.disabled = false;
    load.hidden = false;
  }
}

for (const frame of document.querySelectorAll(".llmref-lab")) {
  frame.querySelector(".lab-load").addEventListener("click", () => mount(frame));
  if (navigator.connection?.saveData) {
    // A reader who saves data decides: the model is two megabytes.
    frame.querySelector(".lab-load").hidden = false;
    continue;
  }
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    mount(frame);
  }).observe(frame);
}

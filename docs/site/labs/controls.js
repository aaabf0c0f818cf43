// The sliders of the decoding strategy, the seed and the speed.
import { h, newId } from "./dom.js";

const MOST = 50; // the slider of top-k ends here; one step further is "all"

export class Controls {
  /**
   * @param {object} words
   * @param {() => void} changed called when the strategy changes
   * @param {() => void} reseeded called when the seed changes
   */
  constructor(words, changed, reseeded) {
    this.words = words;
    this.temperature = this.slider(words.temperature, { min: 0, max: 2, step: 0.1, value: 0.8 }, (value) =>
      value === 0 ? words.greedy : value.toFixed(1), changed);
    this.topK = this.slider(words.topK, { min: 1, max: MOST + 1, step: 1, value: MOST + 1 }, (value) =>
      value > MOST ? words.all : String(value), changed);
    this.topP = this.slider(words.topP, { min: 0.05, max: 1, step: 0.05, value: 1 }, (value) =>
      value === 1 ? words.all : value.toFixed(2), changed);
    this.seed = h("input", { type: "number", min: 0, max: 999999, step: 1, value: 1, id: newId("seed"), onchange: reseeded });
    this.pace = h(
      "select", { id: newId("pace") },
      ...words.paces.map((name, i) => h("option", { value: [250, 80, 0][i], selected: i === 1 }, name)),
    );
    this.element = h(
      "fieldset", { class: "lab-controls" },
      h("legend", { class: "lab-label" }, words.settings),
      this.temperature.element,
      this.topK.element,
      this.topP.element,
      h(
        "div", { class: "lab-row" },
        h("span", { class: "lab-field" }, h("label", { for: this.pace.id }, words.pace), this.pace),
        h("span", { class: "lab-field" }, h("label", { for: this.seed.id }, words.seed), this.seed),
      ),
    );
  }

  slider(name, range, spoken, changed) {
    const id = newId("slider");
    const input = h("input", { type: "range", id, ...range });
    const output = h("output", { for: id });
    const value = () => Number(input.value);
    const show = () => {
      output.textContent = spoken(value());
      input.setAttribute("aria-valuetext", spoken(value()));
    };
    show();
    input.addEventListener("input", () => {
      show();
      changed();
    });
    return { value, element: h("div", { class: "lab-slider" }, h("label", { for: id }, name), input, output) };
  }

  /** @returns {{temperature: number, topK: number | null, topP: number}} */
  get strategy() {
    const topK = this.topK.value();
    return { temperature: this.temperature.value(), topK: topK > MOST ? null : topK, topP: this.topP.value() };
  }

  /** Milliseconds between two tokens of a run; 0 is as fast as it can. */
  get wait() {
    return Number(this.pace.value);
  }
}

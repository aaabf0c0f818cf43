// The ten likeliest next tokens: what the model says, and what the decoding strategy makes of it.
import { fill, h, percent, show, tokenNodes } from "./dom.js";

const ROWS = 10;

export class NextTokens {
  /** @param {import("./writer.js").Writer} writer @param {object} words @param {(id: number) => void} take */
  constructor(writer, words, take) {
    this.writer = writer;
    this.words = words;
    this.rows = Array.from({ length: ROWS }, () => {
      const row = { id: 0 };
      row.token = h("button", { type: "button", class: "lab-take", onclick: () => take(row.id) });
      row.model = h("span", { class: "lab-bar-model" });
      row.drawn = h("span", { class: "lab-bar-drawn" });
      row.modelText = h("td", { class: "lab-number" });
      row.drawnText = h("td", { class: "lab-number lab-drawn" });
      row.element = h(
        "tr", {},
        h("th", { scope: "row" }, row.token),
        h("td", { class: "lab-bar", "aria-hidden": "true" }, row.model, row.drawn),
        row.modelText,
        row.drawnText,
      );
      return row;
    });
    this.restName = h("th", { scope: "row" });
    this.restModel = h("td", { class: "lab-number" });
    this.restDrawn = h("td", { class: "lab-number lab-drawn" });
    this.element = h(
      "div", { class: "lab-next" },
      h(
        "table", { class: "lab-table" },
        h("caption", { class: "lab-label" }, words.next),
        h(
          "thead", {},
          h(
            "tr", {},
            h("th", { scope: "col" }, words.token),
            h("td", { "aria-hidden": "true" }),
            h("th", { scope: "col", class: "lab-number" }, words.modelProbability),
            h("th", { scope: "col", class: "lab-number" }, words.drawProbability),
          ),
        ),
        h("tbody", {}, ...this.rows.map((row) => row.element)),
        h("tfoot", {}, h("tr", {}, this.restName, h("td", { "aria-hidden": "true" }), this.restModel, this.restDrawn)),
      ),
      h("p", { class: "lab-small" }, words.takeHint),
    );
  }

  /** Show the logits that are there under a strategy; nothing is computed by the model. */
  render(strategy) {
    const { writer, words } = this;
    const drawn = writer.distribution(strategy);
    const over = writer.ended || writer.full;
    let modelRest = 1;
    let drawnRest = 1;
    this.rows.forEach((row, i) => {
      const id = writer.ranked[i];
      const token = show(writer.candidate(id), false, words);
      row.id = id;
      row.token.replaceChildren(...tokenNodes(token));
      row.token.setAttribute("aria-label", fill(words.take, { token: token.name }));
      row.token.disabled = over;
      row.model.style.width = `${100 * writer.probabilities[id]}%`;
      row.drawn.style.width = `${100 * drawn[id]}%`;
      row.modelText.textContent = percent(writer.probabilities[id]);
      row.drawnText.textContent = percent(drawn[id]);
      row.element.classList.toggle("lab-out", drawn[id] === 0);
      modelRest -= writer.probabilities[id];
      drawnRest -= drawn[id];
    });
    this.restName.textContent = fill(words.rest, { count: (writer.ranked.length - ROWS).toLocaleString() });
    this.restModel.textContent = percent(Math.max(0, modelRest));
    this.restDrawn.textContent = percent(drawnRest < 1e-9 ? 0 : drawnRest);
  }
}

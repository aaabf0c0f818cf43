// Where one token looks: a grid of layers and heads, and the weights of the chosen one.
import { fill, h, percent, show, tokenNodes } from "./dom.js";

const LARGEST = 8;

export class AttentionView {
  /** @param {import("./writer.js").Writer} writer @param {object} words @param {() => void} changed */
  constructor(writer, words, changed) {
    this.writer = writer;
    this.words = words;
    this.changed = changed;
    /** @type {number | null} the token whose attention is shown */
    this.position = null;
    /** @type {{layer: number, head: number} | null} null is the mean of all heads */
    this.where = null;
    this.everything = false;
    this.element = h("div", { class: "lab-attention", role: "region", tabindex: "-1", hidden: true });
  }

  token(position) {
    return show(this.writer.pieces[position], position === 0, this.words);
  }

  /** @returns {Float32Array | null} the weights that are shown, over the positions up to the chosen token */
  get weights() {
    return this.position === null ? null : this.writer.weights(this.position, this.where);
  }

  /** Positions, the largest weight first. */
  largest(weights) {
    return Array.from(weights.keys()).sort((a, b) => weights[b] - weights[a] || a - b);
  }

  open(position) {
    this.position = position;
    this.everything = false;
    this.render();
  }

  close() {
    this.position = null;
    this.where = null;
    this.element.hidden = true;
    this.element.replaceChildren();
  }

  choose(where) {
    this.where = where;
    this.render();
    this.changed();
    this.element.querySelector('[aria-pressed="true"]').focus();
  }

  render() {
    const { words } = this;
    const title = fill(words.attention, { token: this.token(this.position).name, position: this.position });
    this.element.hidden = false;
    this.element.setAttribute("aria-label", title);
    this.element.replaceChildren(
      h(
        "div", { class: "lab-row" },
        h("p", { class: "lab-label" }, title),
        h("button", { type: "button", class: "lab-quiet", onclick: () => this.onclose() }, words.attentionClose),
      ),
      h("div", { class: "lab-attention-columns" }, this.grid(), this.table()),
    );
  }

  grid() {
    const { words } = this;
    const blocks = this.writer.attention[this.position];
    const heads = blocks[0].map((_, head) => h("th", { scope: "col" }, fill(words.head, { index: head })));
    const rows = blocks.map((block, layer) =>
      h(
        "tr", {},
        h("th", { scope: "row" }, fill(words.layer, { index: layer })),
        ...block.map((weights, head) => h("td", {}, this.cell(weights, layer, head))),
      ),
    );
    return h(
      "div", { class: "lab-grid" },
      h(
        "table", { class: "lab-table lab-heads" },
        h("caption", {}, words.attentionGrid),
        h("thead", {}, h("tr", {}, h("td", {}), ...heads)),
        h("tbody", {}, ...rows),
      ),
      h(
        "button",
        {
          type: "button",
          class: "lab-cell lab-mean",
          "aria-pressed": String(this.where === null),
          onclick: () => this.choose(null),
        },
        words.attentionAll,
      ),
    );
  }

  cell(weights, layer, head) {
    const at = this.largest(weights)[0];
    const token = this.token(at);
    const weight = percent(weights[at]);
    const chosen = this.where?.layer === layer && this.where?.head === head;
    return h(
      "button",
      {
        type: "button",
        class: "lab-cell",
        style: `--lab-weight: ${weights[at].toFixed(3)}`,
        "aria-pressed": String(chosen),
        "aria-label": fill(this.words.attentionCell, { layer, head, token: token.name, weight }),
        onclick: () => this.choose({ layer, head }),
      },
      h("span", { class: "lab-cell-token" }, ...tokenNodes({ ...token, space: false })),
      h("span", { class: "lab-cell-weight" }, weight),
    );
  }

  table() {
    const { words, where } = this;
    const weights = this.weights;
    const order = this.largest(weights);
    const shown = this.everything ? order : order.slice(0, LARGEST);
    const rest = order.slice(shown.length);
    const name = where
      ? `${fill(words.layer, { index: where.layer })} · ${fill(words.head, { index: where.head })}`
      : words.attentionAll;
    const row = (at) => {
      const token = this.token(at);
      return h(
        "tr", {},
        h("td", { class: "lab-number" }, String(at)),
        h("th", { scope: "row" }, ...tokenNodes(token)),
        h("td", { class: "lab-bar", "aria-hidden": "true" }, h("span", { class: "lab-bar-drawn", style: `width: ${100 * weights[at]}%` })),
        h("td", { class: "lab-number" }, percent(weights[at])),
      );
    };
    const restRow = h(
      "tr", {},
      h("td", {}),
      h("th", { scope: "row" }, fill(words.rest, { count: rest.length })),
      h("td", { "aria-hidden": "true" }),
      h("td", { class: "lab-number" }, percent(rest.reduce((sum, at) => sum + weights[at], 0))),
    );
    const more = h(
      "button",
      {
        type: "button",
        class: "lab-quiet",
        "aria-expanded": String(this.everything),
        onclick: () => {
          this.everything = !this.everything;
          this.render();
          this.element.querySelector("[aria-expanded]").focus();
        },
      },
      this.everything ? words.showFewer : words.showAll,
    );
    return h(
      "div", { class: "lab-weights" },
      h(
        "table", { class: "lab-table" },
        h("caption", {}, fill(words.attentionWeights, { where: name })),
        h(
          "thead", {},
          h(
            "tr", {},
            h("th", { scope: "col", class: "lab-number" }, words.position),
            h("th", { scope: "col" }, words.token),
            h("td", { "aria-hidden": "true" }),
            h("th", { scope: "col", class: "lab-number" }, words.weight),
          ),
        ),
        h("tbody", {}, ...shown.map(row)),
        rest.length > 0 ? h("tfoot", {}, restRow) : "",
      ),
      order.length > LARGEST ? more : "",
    );
  }
}

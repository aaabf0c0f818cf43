// The lab on the page: prompt, text, buttons, and the panels beside them.
import { AttentionView } from "./attention-view.js";
import { Controls } from "./controls.js";
import { fill, h, newId, percent, show } from "./dom.js";
import { NextTokens } from "./next-tokens.js";
import { Writer } from "./writer.js";

export class View {
  /**
   * @param {{model: object, tokenizer: object}} tiny from loadTiny
   * @param {object} words the texts of the page's language
   * @param {string} prompt
   */
  constructor(tiny, words, prompt) {
    this.words = words;
    this.writer = new Writer(tiny.model, tiny.tokenizer);
    this.running = false;
    this.milliseconds = null;
    this.chips = [];
    this.focused = 0;

    this.controls = new Controls(words, () => this.next.render(this.controls.strategy), () => this.begin());
    this.next = new NextTokens(this.writer, words, (id) => this.take(id));
    this.attention = new AttentionView(this.writer, words, () => this.shade());
    this.attention.onclose = () => this.select(null);
    this.element = this.build(prompt);
    this.begin();
  }

  build(prompt) {
    const { words } = this;
    this.prompt = h("input", {
      type: "text",
      id: newId("prompt"),
      value: prompt,
      autocomplete: "off",
      spellcheck: "false",
      "aria-describedby": newId("message"),
      oninput: (event) => event.isComposing || this.begin(),
      oncompositionend: () => this.begin(),
    });
    this.message = h("p", { class: "lab-message", role: "status", id: this.prompt.getAttribute("aria-describedby") });
    this.text = h("div", {
      class: "lab-story",
      role: "group",
      "aria-label": words.text,
      dir: "auto",
      onclick: (event) => this.pick(event),
      onkeydown: (event) => this.move(event),
    });
    this.hint = h("p", { class: "lab-small lab-hint" });
    this.runButton = h("button", { type: "submit", class: "lab-primary" }, words.run);
    this.stepButton = h("button", { type: "button", onclick: () => this.step() }, words.step);
    this.restartButton = h("button", { type: "button", onclick: () => this.restart() }, words.restart);
    this.note = h("span", { class: "lab-small", role: "status" });
    this.status = h("p", { class: "lab-small lab-status" });
    this.live = h("div", { class: "lab-unseen", "aria-live": "polite" });
    const examples = words.exampleList.map((example) =>
      h("button", { type: "button", class: "lab-quiet", onclick: () => this.useExample(example) }, example),
    );
    return h(
      "form", {
        class: "lab-live",
        onsubmit: (event) => {
          event.preventDefault();
          this.toggle();
        },
        onkeydown: (event) => event.key === "Escape" && this.select(null),
      },
      h("div", { class: "lab-prompt" }, h("label", { class: "lab-label", for: this.prompt.id }, words.prompt), this.prompt),
      h("div", { class: "lab-examples", role: "group", "aria-label": words.examples }, ...examples),
      this.message,
      h(
        "div", { class: "lab-columns" },
        h(
          "div", { class: "lab-writing" },
          h("div", { class: "lab-buttons" }, this.runButton, this.stepButton, this.restartButton, this.note),
          this.text,
          this.hint,
          this.controls.element,
        ),
        this.next.element,
      ),
      this.attention.element,
      this.status,
      this.live,
    );
  }

  /** Start from the prompt that stands in the field. */
  begin() {
    this.pause();
    this.writer.reseed(Number(this.controls.seed.value));
    this.timed(() => {
      const found = this.writer.setPrompt(this.prompt.value);
      const limit = this.writer.model.contextLength;
      this.tooLong = found > limit ? fill(this.words.promptTooLong, { found, limit }) : "";
      return found;
    });
    this.prompt.setAttribute("aria-invalid", String(this.tooLong !== ""));
    this.text.replaceChildren();
    this.chips = [];
    this.focused = 0;
    this.select(null);
    this.render();
  }

  useExample(example) {
    this.prompt.value = example;
    this.begin();
  }

  /** Write another text from the same prompt: the next seed. */
  restart() {
    this.controls.seed.value = Number(this.controls.seed.value) + 1;
    this.begin();
    this.run();
  }

  get over() {
    return this.tooLong !== "" || this.writer.ended || this.writer.full;
  }

  /** Time what the model does, as the mean over the tokens it read. */
  timed(work) {
    const before = this.writer.model.length;
    const start = performance.now();
    const result = work();
    const read = this.writer.model.length - before;
    if (read > 0) {
      const each = (performance.now() - start) / read;
      this.milliseconds = this.milliseconds === null ? each : 0.9 * this.milliseconds + 0.1 * each;
    }
    return result;
  }

  step() {
    this.pause();
    if (this.over) return;
    this.timed(() => this.writer.step(this.controls.strategy));
    this.announceLast();
    this.render();
  }

  take(id) {
    this.pause();
    if (this.over) return;
    this.timed(() => this.writer.take(id));
    this.announceLast();
    this.render();
  }

  announceLast() {
    this.live.textContent = show(this.writer.pieces.at(-1), false, this.words).name;
  }

  toggle() {
    if (this.running) this.pause();
    else this.run();
  }

  pause() {
    if (!this.running) return;
    this.running = false;
    clearTimeout(this.timer);
    this.live.textContent = fill(this.words.announce, { text: this.writer.written });
    this.render();
  }

  run() {
    if (this.over) return;
    this.running = true;
    this.live.textContent = "";
    const tick = () => {
      if (!this.running) return;
      const wait = this.controls.wait;
      const start = performance.now();
      // At full speed several tokens fit between two pictures of the screen.
      do this.timed(() => this.writer.step(this.controls.strategy));
      while (wait === 0 && !this.over && performance.now() - start < 10);
      this.render();
      if (this.over) this.pause();
      else this.timer = setTimeout(tick, wait);
    };
    this.render();
    tick();
  }

  render() {
    const { words, writer } = this;
    while (this.chips.length < writer.ids.length) this.addChip(this.chips.length);
    this.next.render(this.controls.strategy);
    this.runButton.textContent = this.running ? words.pause : words.run;
    this.runButton.disabled = this.over && !this.running;
    this.stepButton.disabled = this.over;
    this.text.classList.toggle("lab-running", this.running);
    const limit = writer.model.contextLength;
    this.message.textContent = this.tooLong;
    this.note.textContent = writer.ended ? words.textEnded : writer.full ? fill(words.full, { count: limit }) : "";
    this.status.textContent = [
      fill(words.statusTokens, { count: writer.ids.length, limit }),
      fill(words.statusCache, { size: (writer.model.cacheBytes / 1024).toFixed(0) }),
      this.milliseconds === null ? "" : fill(words.statusSpeed, { ms: this.milliseconds.toFixed(1) }),
    ].filter(Boolean).join(" · ");
  }

  addChip(position) {
    const { words, writer } = this;
    const token = show(writer.pieces[position], position === 0, words);
    const given = position < writer.promptLength ? " lab-given" : "";
    const chip = h(
      "span", {
        class: `lab-chip lab-${token.kind}${given}`,
        role: "button",
        tabindex: position === this.focused ? 0 : -1,
        "aria-pressed": "false",
        "aria-label": fill(words.tokenLabel, { token: token.name, position }),
        "data-position": position,
      },
      token.text,
    );
    // The space stands outside the chip, so that a line breaks between words as in any text.
    const special = token.kind === "special";
    this.text.append(token.space || special ? " " : "", chip, special ? " " : "");
    this.chips.push(chip);
  }

  pick(event) {
    const chip = event.target.closest(".lab-chip");
    if (!chip) return;
    const position = Number(chip.dataset.position);
    this.focus(position);
    this.select(this.attention.position === position ? null : position);
  }

  /** One stop for the Tab key; the arrows move from token to token. */
  move(event) {
    const to = {
      ArrowLeft: this.focused - 1,
      ArrowRight: this.focused + 1,
      Home: 0,
      End: this.chips.length - 1,
    }[event.key];
    if (to !== undefined && this.chips[to]) this.focus(to);
    else if (event.key === "Enter" || event.key === " ") this.pick(event);
    else return;
    event.preventDefault();
  }

  focus(position) {
    this.chips[this.focused].tabIndex = -1;
    this.focused = position;
    this.chips[position].tabIndex = 0;
    this.chips[position].focus();
  }

  /** Show where the token at a position looks, or nothing. */
  select(position) {
    this.chips.forEach((chip, at) => chip.setAttribute("aria-pressed", String(at === position)));
    if (position === null) this.attention.close();
    else this.attention.open(position);
    this.shade();
  }

  /** Tint each token by the weight it gets. */
  shade() {
    const { words, attention } = this;
    const weights = attention.weights;
    const most = weights ? Math.max(...weights) : 1;
    this.chips.forEach((chip, at) => chip.style.setProperty("--lab-weight", weights?.[at] ? (weights[at] / most).toFixed(3) : 0));
    if (!weights) {
      this.hint.replaceChildren(words.attentionHint);
      return;
    }
    const list = attention.largest(weights).slice(0, 3)
      .map((at) => `${attention.token(at).name} ${percent(weights[at])}`)
      .join(", ");
    const more = h("button", { type: "button", class: "lab-quiet", onclick: () => attention.element.focus() }, words.attentionMore);
    this.hint.replaceChildren(
      fill(words.attentionMost, { token: attention.token(attention.position).name, list }), " ", more,
    );
  }
}

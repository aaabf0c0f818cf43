// What the lab knows, apart from what it shows: the tokens so far, the next logits, where each token looked.
import { distribution, draw, ranking, seeded, softmax } from "./sampling.js";

export class Writer {
  /** @param {import("./model.js").Model} model @param {import("./tokenizer.js").Tokenizer} tokenizer */
  constructor(model, tokenizer) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.bos = model.config.bos_token_id;
    this.eos = model.config.eos_token_id;
    /** @type {number[]} the start token, the prompt, and what was written */
    this.ids = [];
    this.promptLength = 0;
    /** @type {Float32Array[][][]} attention weights [position][block][head], over the positions up to it */
    this.attention = [];
    /** @type {ReturnType<import("./tokenizer.js").Tokenizer["pieces"]>} each token for display */
    this.pieces = [];
    this.reseed(1);
  }

  /** Start the random numbers again: from here the same seed draws the same tokens. */
  reseed(seed) {
    this.random = seeded(seed);
  }

  /**
   * Begin again with a prompt. Tokens it shares with the text that stood before are still in the cache.
   *
   * @returns {number} the tokens of the prompt with its start token; more than the context length: nothing was done
   */
  setPrompt(text) {
    const ids = [this.bos, ...this.tokenizer.encode(text)];
    if (ids.length > this.model.contextLength) return ids.length;
    let same = 0;
    while (same < ids.length && same < this.model.length && ids[same] === this.ids[same]) same += 1;
    same = Math.min(same, ids.length - 1); // the last one is read again: the next logits come from it
    this.model.truncate(same);
    this.attention.length = same;
    this.ids = ids;
    this.promptLength = ids.length;
    this.pieces = this.tokenizer.pieces(ids);
    for (const id of ids.slice(same)) this.read(id);
    this.look();
    return ids.length;
  }

  read(id) {
    this.attention.push(this.model.read(id));
  }

  /** Work out what every later question needs: the logits, their order, the model's own probabilities. */
  look() {
    this.logits = this.model.logits();
    this.ranked = ranking(this.logits);
    this.probabilities = softmax(this.logits);
  }

  get ended() {
    return this.ids.length > this.promptLength && this.ids.at(-1) === this.eos;
  }

  get full() {
    return this.ids.length >= this.model.contextLength;
  }

  /** The probabilities of being drawn under a strategy. */
  distribution(strategy) {
    return distribution(this.logits, strategy, this.ranked);
  }

  /** Draw the next token and take it. @returns {number} its id */
  step(strategy) {
    const id = draw(this.distribution(strategy), this.random);
    this.take(id);
    return id;
  }

  /** The next token is this one: it joins the text, and the model reads it. */
  take(id) {
    if (this.ended || this.full) throw new Error("the text is at its end");
    this.ids.push(id);
    this.pieces.push(this.candidate(id));
    this.read(id);
    if (!this.ended) this.look(); // after the end stays what the end was drawn from
  }

  /** A token for display, were it the next one. */
  candidate(id) {
    return this.tokenizer.piece(id, this.pieces.at(-1).unfinished);
  }

  /** What was written after the prompt. */
  get written() {
    return this.tokenizer.decode(this.ids.slice(this.promptLength).filter((id) => id !== this.eos));
  }

  /** Attention weights of a position: of one head, or the mean of all. @returns {Float32Array} */
  weights(position, where) {
    const blocks = this.attention[position];
    if (where !== null) return blocks[where.layer][where.head];
    const heads = blocks.flat();
    return heads[0].map((_, at) => heads.reduce((sum, head) => sum + head[at], 0) / heads.length);
  }
}

// The tiny model's forward pass, one token at a time, with a KV cache. The same maths as llmref.model.

/**
 * out[row] = sum over column of weight[row, column] * x[column]
 *
 * @param {Float32Array} weight [rows, columns] @param {Float32Array} x [columns] @param {Float32Array} out [rows]
 */
function linear(weight, x, out) {
  const columns = x.length;
  for (let row = 0; row < out.length; row++) {
    const start = row * columns;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    let column = 0;
    for (; column + 3 < columns; column += 4) {
      a += weight[start + column] * x[column];
      b += weight[start + column + 1] * x[column + 1];
      c += weight[start + column + 2] * x[column + 2];
      d += weight[start + column + 3] * x[column + 3];
    }
    for (; column < columns; column++) a += weight[start + column] * x[column];
    out[row] = a + b + c + d;
  }
  return out;
}

/** RMSNorm: x / sqrt(mean(x²) + eps) * weight */
function rmsNorm(x, weight, eps) {
  let squares = 0;
  for (const value of x) squares += value * value;
  const scale = 1 / Math.sqrt(squares / x.length + eps);
  return x.map((value, i) => value * scale * weight[i]);
}

/** Turn the pairs (i, i + head_dim/2) of every head by position * base^(-2i/head_dim). */
function rotate(x, headDim, position, base) {
  const half = headDim / 2;
  for (let i = 0; i < half; i++) {
    const angle = position * base ** ((-2 * i) / headDim);
    const cos = Math.cos(angle);
    const sin = Math.sin(angle);
    for (let start = 0; start < x.length; start += headDim) {
      const first = x[start + i];
      const second = x[start + i + half];
      x[start + i] = first * cos - second * sin;
      x[start + i + half] = second * cos + first * sin;
    }
  }
}

function addTo(x, y) {
  for (let i = 0; i < x.length; i++) x[i] += y[i];
}

export class Model {
  /**
   * @param {object} config the parsed config.json
   * @param {Map<string, {shape: number[], data: Float32Array}>} tensors from readSafetensors
   */
  constructor(config, tensors) {
    this.config = config;
    this.contextLength = config.context_length;
    const width = config.d_model;
    const take = (name, ...shape) => {
      const tensor = tensors.get(name);
      if (!tensor) throw new Error(`model.safetensors: ${name} is missing`);
      if (tensor.shape.join() !== shape.join()) {
        throw new Error(`model.safetensors: ${name} has shape [${tensor.shape}], expected [${shape}]`);
      }
      return tensor.data;
    };
    this.embedding = take("embedding.weight", config.vocab_size, width);
    this.head = config.tied_embeddings ? this.embedding : take("lm_head.weight", config.vocab_size, width);
    this.finalNorm = take("final_norm.weight", width);
    this.blocks = config.blocks.map((block, i) => {
      onlyThePlainBlock(block, i);
      const { n_heads: heads, n_kv_heads: kvHeads, head_dim: headDim, rope } = block.attention;
      const hidden = block.feedforward.d_ff;
      const name = (part) => `blocks.${i}.${part}.weight`;
      return {
        heads, kvHeads, headDim, hidden,
        base: rope.base,
        eps: block.norm.eps,
        attentionNorm: take(name("attention_norm"), width),
        query: take(name("attention.query"), heads * headDim, width),
        key: take(name("attention.key"), kvHeads * headDim, width),
        value: take(name("attention.value"), kvHeads * headDim, width),
        output: take(name("attention.output"), width, heads * headDim),
        feedforwardNorm: take(name("feedforward_norm"), width),
        gate: take(name("feedforward.gate"), hidden, width),
        up: take(name("feedforward.up"), hidden, width),
        down: take(name("feedforward.down"), width, hidden),
        // The KV cache: one row of keys and one of values for each position read so far.
        keys: new Float32Array(this.contextLength * kvHeads * headDim),
        values: new Float32Array(this.contextLength * kvHeads * headDim),
      };
    });
    /** How many tokens have been read: the position of the next one. */
    this.length = 0;
  }

  /** Bytes of keys and values that the cache holds now. */
  get cacheBytes() {
    return this.blocks.reduce((sum, block) => sum + 2 * 4 * this.length * block.kvHeads * block.headDim, 0);
  }

  /** Forget every token from position `length` on; what stands before stays in the cache. */
  truncate(length) {
    this.length = Math.min(this.length, length);
  }

  /**
   * Read one token: only this token is computed, the earlier ones are in the cache.
   *
   * @param {number} id
   * @returns {Float32Array[][]} attention weights [block][head], each over the positions 0 … this one
   */
  read(id) {
    if (this.length >= this.contextLength) throw new Error(`the context is full: ${this.contextLength} tokens`);
    const width = this.config.d_model;
    const x = this.embedding.slice(id * width, (id + 1) * width);
    const weights = this.blocks.map((block) => {
      const { output, weights: attentionWeights } = this.attention(block, rmsNorm(x, block.attentionNorm, block.eps));
      addTo(x, output);
      addTo(x, this.feedforward(block, rmsNorm(x, block.feedforwardNorm, block.eps)));
      return attentionWeights;
    });
    this.length += 1;
    this.hidden = x;
    return weights;
  }

  /** @returns {Float32Array} logits [vocab] of the token after the last one read */
  logits() {
    const normed = rmsNorm(this.hidden, this.finalNorm, this.config.norm.eps);
    return linear(this.head, normed, new Float32Array(this.config.vocab_size));
  }

  attention(block, x) {
    const { heads, kvHeads, headDim, keys, values } = block;
    const position = this.length;
    const row = kvHeads * headDim;
    const query = linear(block.query, x, new Float32Array(heads * headDim));
    const key = linear(block.key, x, keys.subarray(position * row, (position + 1) * row));
    linear(block.value, x, values.subarray(position * row, (position + 1) * row));
    rotate(query, headDim, position, block.base);
    rotate(key, headDim, position, block.base);

    const mixed = new Float32Array(heads * headDim);
    const weights = [];
    for (let head = 0; head < heads; head++) {
      // Several query heads share one key/value head.
      const shared = Math.floor(head / (heads / kvHeads)) * headDim;
      const start = head * headDim;
      // Step one: how relevant is each position?
      const scores = new Float32Array(position + 1);
      let largest = -Infinity;
      for (let at = 0; at <= position; at++) {
        let dot = 0;
        for (let i = 0; i < headDim; i++) dot += query[start + i] * keys[at * row + shared + i];
        scores[at] = dot / Math.sqrt(headDim);
        if (scores[at] > largest) largest = scores[at];
      }
      let sum = 0;
      for (let at = 0; at <= position; at++) sum += scores[at] = Math.exp(scores[at] - largest);
      // Step two: combine the values by those weights.
      for (let at = 0; at <= position; at++) {
        const weight = (scores[at] /= sum);
        for (let i = 0; i < headDim; i++) mixed[start + i] += weight * values[at * row + shared + i];
      }
      weights.push(scores);
    }
    return { output: linear(block.output, mixed, new Float32Array(x.length)), weights };
  }

  feedforward(block, x) {
    const gate = linear(block.gate, x, new Float32Array(block.hidden));
    const hidden = linear(block.up, x, new Float32Array(block.hidden));
    for (let i = 0; i < hidden.length; i++) hidden[i] *= gate[i] / (1 + Math.exp(-gate[i]));
    return linear(block.down, hidden, new Float32Array(x.length));
  }
}

/** This file runs the plain modern block and says so where a checkpoint asks for another. */
function onlyThePlainBlock(block, i) {
  const expected = [
    ["attention.window", block.attention.window, null],
    ["attention.bias", block.attention.bias, false],
    ["attention.rope.layout", block.attention.rope?.layout, "half"],
    ["feedforward.activation", block.feedforward.activation, "silu"],
    ["feedforward.gated", block.feedforward.gated, true],
    ["feedforward.bias", block.feedforward.bias, false],
    ["norm.kind", block.norm.kind, "rms"],
    ["norm_position", block.norm_position, "pre"],
  ];
  for (const [name, found, wanted] of expected) {
    if (found !== wanted) throw new Error(`config.json: blocks[${i}].${name} is ${found}, the lab runs ${wanted}`);
  }
}

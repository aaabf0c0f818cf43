// From logits to a choice, in the package's order: temperature, top-k, top-p.

/** Ids from the largest logit to the smallest; the lower id first on ties. */
export function ranking(logits) {
  return Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
}

/** @param {ArrayLike<number>} logits @returns {Float64Array} probabilities */
export function softmax(logits) {
  let largest = -Infinity;
  for (let i = 0; i < logits.length; i++) if (logits[i] > largest) largest = logits[i];
  const probabilities = Float64Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = probabilities.reduce((total, p) => total + p, 0);
  return probabilities.map((p) => p / sum);
}

/**
 * The distribution the next token is drawn from.
 *
 * @param {Float32Array} logits
 * @param {{temperature: number, topK: number | null, topP: number}} strategy temperature 0 is greedy
 * @param {number[]} ranked ranking(logits)
 * @returns {Float64Array} one probability for each id, 0 for what the strategy leaves out
 */
export function distribution(logits, { temperature, topK, topP }, ranked) {
  const chosen = new Float64Array(logits.length);
  if (temperature === 0) {
    chosen[ranked[0]] = 1;
    return chosen;
  }
  const scaled = softmax(Float64Array.from(logits, (logit) => logit / temperature));
  const kept = topK === null ? ranked : ranked.slice(0, topK);
  const total = kept.reduce((sum, id) => sum + scaled[id], 0);
  // Top-p keeps the token that crosses the threshold, so at least one.
  let sum = 0;
  for (const id of kept) {
    if (topP < 1 && sum >= topP * total) break;
    chosen[id] = scaled[id];
    sum += scaled[id];
  }
  return chosen.map((p) => p / sum);
}

/** Draw an id: the first whose cumulated probability passes a random number. */
export function draw(probabilities, random) {
  let left = random();
  let last = 0;
  for (let id = 0; id < probabilities.length; id++) {
    if (probabilities[id] === 0) continue;
    last = id;
    left -= probabilities[id];
    if (left < 0) return id;
  }
  return last;
}

/** A small seeded generator of numbers in [0, 1) (mulberry32): the same seed, the same text. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

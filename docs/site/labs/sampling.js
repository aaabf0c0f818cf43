// From logits to a choice, in the package's order: penalties, temperature, top-k, top-p, min-p, typical.

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

/** The logits, lower for tokens that the text holds; frequency and presence do not count the prompt. */
function penalized(logits, { repetition, frequency, presence }, ids, promptLength) {
  const changed = Float64Array.from(logits);
  for (const id of new Set(ids)) changed[id] = changed[id] > 0 ? changed[id] / repetition : changed[id] * repetition;
  const written = ids.slice(promptLength);
  for (const id of written) changed[id] -= frequency;
  for (const id of new Set(written)) changed[id] -= presence;
  return changed;
}

/** The first ids of an order until their probabilities reach a share of all; the one that crosses stays. */
function reaching(share, order, probabilities) {
  if (share === 1) return order;
  const total = order.reduce((sum, id) => sum + probabilities[id], 0);
  let sum = 0;
  return order.filter((id) => {
    const before = sum;
    sum += probabilities[id];
    return before < share * total;
  });
}

/** Ids whose surprise is nearest to the mean surprise first; the lower id first on ties. */
function typicalFirst(ids, probabilities) {
  const possible = ids.filter((id) => probabilities[id] > 0);
  const total = possible.reduce((sum, id) => sum + probabilities[id], 0);
  const surprise = (id) => -Math.log(probabilities[id] / total);
  const mean = possible.reduce((sum, id) => sum + (probabilities[id] / total) * surprise(id), 0);
  const distance = (id) => Math.abs(surprise(id) - mean);
  return possible.sort((a, b) => distance(a) - distance(b) || a - b);
}

/** What a strategy is where it does not say. */
const NOTHING = { topK: null, topP: 1, minP: 0, typicalP: 1, repetition: 1, frequency: 0, presence: 0 };

/**
 * The distribution the next token is drawn from.
 *
 * @param {Float32Array} logits
 * @param {{temperature: number, topK?: number | null, topP?: number, minP?: number, typicalP?: number,
 *     repetition?: number, frequency?: number, presence?: number}} strategy temperature 0 is greedy
 * @param {number[]} ids the text so far, for the penalties
 * @param {number} promptLength how many of them are the prompt
 * @returns {Float64Array} one probability for each id, 0 for what the strategy leaves out
 */
export function distribution(logits, strategy, ids = [], promptLength = 0) {
  const settings = { ...NOTHING, ...strategy };
  const steered = penalized(logits, settings, ids, promptLength);
  const chosen = new Float64Array(logits.length);
  let kept = ranking(steered);
  if (settings.temperature === 0) {
    chosen[kept[0]] = 1;
    return chosen;
  }
  const scaled = softmax(steered.map((logit) => logit / settings.temperature));
  if (settings.topK !== null) kept = kept.slice(0, settings.topK);
  kept = reaching(settings.topP, kept, scaled);
  kept = kept.filter((id) => scaled[id] >= settings.minP * scaled[kept[0]]);
  if (settings.typicalP < 1) kept = reaching(settings.typicalP, typicalFirst(kept, scaled), scaled);
  const sum = kept.reduce((total, id) => total + scaled[id], 0);
  for (const id of kept) chosen[id] = scaled[id] / sum;
  return chosen;
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

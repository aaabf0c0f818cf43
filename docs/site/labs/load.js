// Fetch the tiny model: the site puts the package's own files at assets/tiny, beside assets/labs.
import { Model } from "./model.js";
import { readSafetensors } from "./safetensors.js";
import { Tokenizer } from "./tokenizer.js";

async function fetchFile(name) {
  const response = await fetch(new URL(`../tiny/${name}`, import.meta.url));
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response;
}

async function fetchAll() {
  const [config, tokenizer, weights] = await Promise.all([
    fetchFile("config.json").then((response) => response.json()),
    fetchFile("tokenizer.json").then((response) => response.json()),
    fetchFile("model.safetensors").then((response) => response.arrayBuffer()),
  ]);
  return { config, tokenizer: new Tokenizer(tokenizer), tensors: readSafetensors(weights) };
}

let files = null;

/**
 * The tiny model, fetched once for the page; each call gives a model with a cache of its own.
 *
 * @returns {Promise<{model: Model, tokenizer: Tokenizer}>}
 */
export async function loadTiny() {
  files ??= fetchAll();
  try {
    const { config, tokenizer, tensors } = await files;
    return { model: new Model(config, tensors), tokenizer };
  } catch (error) {
    files = null; // the next click tries again
    throw error;
  }
}

// Small helpers: make elements, fill in texts, write numbers.

/**
 * @param {string} tag
 * @param {Object<string, any>} attributes "onclick"-like names are listeners; true and false switch an attribute
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** fill("{count} tokens", {count: 3}) is "3 tokens" */
export function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function percent(p) {
  if (p === 0) return "0%";
  return p < 0.0005 ? "<0.1%" : `${(100 * p).toFixed(1)}%`;
}

let made = 0;

/** An id that no other element of the page has. */
export function newId(name) {
  made += 1;
  return `llmref-lab-${name}-${made}`;
}

/**
 * How a token is shown, as characters and as a spoken name.
 *
 * @param {{special: boolean, text: string, hex: string}} piece from the tokenizer
 * @param {boolean} first whether it is the first token of all
 * @returns {{kind: "text" | "bytes" | "special", text: string, hex: string, space: boolean, name: string}}
 *     the text without its leading space, and whether it had one; the bytes that complete no character yet
 */
export function show(piece, first, words) {
  if (piece.special) {
    const name = first ? words.start : words.end;
    return { kind: "special", text: name, hex: "", space: false, name };
  }
  const space = piece.text.startsWith(" ");
  const text = piece.text.slice(space ? 1 : 0).replaceAll("\n", "↵").replaceAll("\t", "⇥");
  const bytes = piece.hex && fill(words.bytes, { bytes: piece.hex });
  const name = [text.trim(), bytes].filter(Boolean).join(" ") || words.space;
  return { kind: text === "" && bytes ? "bytes" : "text", text, hex: piece.hex, space, name };
}

/** A token by itself, as in a table: a mark for its leading space, its characters, its unfinished bytes. */
export function tokenNodes(token) {
  const nodes = [];
  if (token.space) nodes.push(h("span", { class: "lab-space" }));
  if (token.text) nodes.push(h("span", { class: `lab-${token.kind}` }, token.text));
  if (token.hex) nodes.push(h("span", { class: "lab-bytes" }, token.hex));
  return nodes;
}

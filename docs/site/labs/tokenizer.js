// Byte-level BPE from a tokenizer.json: the same ids as the package's Tokenizer.

/** tokenizer.json writes every byte as a printable character; this is byte -> character. */
function byteAlphabet() {
  const printable = (byte) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let moved = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : 256 + moved++));
}

export class Tokenizer {
  /** @param {object} file the parsed tokenizer.json */
  constructor(file) {
    const alphabet = byteAlphabet();
    const byteOf = new Map(alphabet.map((character, byte) => [character, byte]));
    const vocab = file.model.vocab;

    /** @type {Map<number, string>} special tokens by id: they are never found in user text */
    this.special = new Map(file.added_tokens.map((token) => [token.id, token.content]));
    this.idOfByte = alphabet.map((character) => vocab[character]);
    /** @type {Uint8Array[]} the bytes of each id; none for a special token */
    this.bytes = [];
    for (const [piece, id] of Object.entries(vocab)) {
      this.bytes[id] = this.special.has(id)
        ? new Uint8Array(0)
        : Uint8Array.from(piece, (character) => byteOf.get(character));
    }
    for (const id of this.special.keys()) this.bytes[id] ??= new Uint8Array(0);
    this.vocabSize = this.bytes.length;

    /** @type {Map<number, [number, number]>} pair of ids -> [rank, id of the two joined] */
    this.merges = new Map();
    file.model.merges.forEach((merge, rank) => {
      const [left, right] = typeof merge === "string" ? merge.split(" ") : merge;
      this.merges.set(this.pair(vocab[left], vocab[right]), [rank, vocab[left + right]]);
    });
    this.pattern = new RegExp(splitPattern(file.pre_tokenizer), "gu");
    this.words = new Map();
  }

  pair(left, right) {
    return left * 0x100000 + right;
  }

  /**
   * @param {string} text
   * @returns {number[]} its ids; a special token written in the text is plain text
   */
  encode(text) {
    const ids = [];
    let end = 0;
    for (const match of text.matchAll(this.pattern)) {
      if (match.index > end) ids.push(...this.encodeWord(text.slice(end, match.index)));
      if (match[0]) ids.push(...this.encodeWord(match[0]));
      end = match.index + match[0].length;
    }
    if (end < text.length) ids.push(...this.encodeWord(text.slice(end)));
    return ids;
  }

  encodeWord(word) {
    const known = this.words.get(word);
    if (known) return known;
    let ids = Array.from(new TextEncoder().encode(word), (byte) => this.idOfByte[byte]);
    // The pair that was learned first is joined first, everywhere in the word; what it makes can only join later.
    for (;;) {
      let best = null;
      for (let i = 0; i + 1 < ids.length; i++) {
        const merge = this.merges.get(this.pair(ids[i], ids[i + 1]));
        if (merge && (best === null || merge[0] < best.rank)) {
          best = { rank: merge[0], left: ids[i], right: ids[i + 1], joined: merge[1] };
        }
      }
      if (best === null) break;
      const next = [];
      for (let i = 0; i < ids.length; i++) {
        if (ids[i] === best.left && ids[i + 1] === best.right) {
          next.push(best.joined);
          i++;
        } else next.push(ids[i]);
      }
      ids = next;
    }
    if (this.words.size > 4096) this.words.clear();
    this.words.set(word, ids);
    return ids;
  }

  /** @param {Iterable<number>} ids @returns {string} the text; broken UTF-8 becomes U+FFFD */
  decode(ids) {
    const stream = this.stream();
    let text = "";
    for (const id of ids) text += stream.push(id);
    return text + stream.flush();
  }

  /** A decoder that is given one id at a time and never gives out half a character. */
  stream() {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return {
      push: (id) => {
        const special = this.special.get(id);
        if (special !== undefined) return decoder.decode() + special;
        return decoder.decode(this.bytes[id], { stream: true });
      },
      flush: () => decoder.decode(),
    };
  }

  /**
   * One token for display, after the bytes of a character that earlier tokens left unfinished.
   *
   * @param {number} id
   * @param {Uint8Array} before those bytes, often none
   * @returns {{special: boolean, text: string, hex: string, unfinished: Uint8Array}}
   *     the characters it completes; its bytes that complete none yet, in hexadecimal, and all such bytes
   */
  piece(id, before = NOTHING) {
    if (this.special.has(id)) return { special: true, text: this.special.get(id), hex: "", unfinished: NOTHING };
    const own = this.bytes[id];
    const bytes = Uint8Array.from([...before, ...own]);
    const unfinished = bytes.slice(bytes.length - unfinishedLength(bytes));
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.slice(0, bytes.length - unfinished.length));
    // Bytes that can never be part of a character here are shown as they are.
    if (text.includes("\uFFFD")) return { special: false, text: "", hex: hexOf(own), unfinished };
    return { special: false, text, hex: hexOf(unfinished.slice(-own.length)), unfinished };
  }

  /** Each token of a text for display, after the ones before it. */
  pieces(ids) {
    let before = NOTHING;
    return ids.map((id) => {
      const piece = this.piece(id, before);
      before = piece.unfinished;
      return piece;
    });
  }
}

const NOTHING = new Uint8Array(0);

/** Bytes as they are written: "EB B3". */
const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ");

/** How many bytes at the end begin a character and do not finish it. */
function unfinishedLength(bytes) {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back];
    if ((byte & 0xc0) === 0x80) continue; // a later byte of a character: look for its first
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 1;
    return needed > back ? back : 0;
  }
  return 0;
}

/** The one regular expression that cuts a text into words before any merge. */
function splitPattern(preTokenizer) {
  const steps = preTokenizer.type === "Sequence" ? preTokenizer.pretokenizers : [preTokenizer];
  const split = steps.find((step) => step.type === "Split");
  if (!split?.pattern?.Regex || split.behavior !== "Isolated") {
    throw new Error(`tokenizer.json: expected a Split by a Regex, Isolated, found ${JSON.stringify(preTokenizer)}`);
  }
  return split.pattern.Regex;
}

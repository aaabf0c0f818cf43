// Read a .safetensors file: eight bytes of header length, a JSON header, then the tensors' bytes.

/**
 * The tensors of a file, each as float32 whatever its stored dtype.
 *
 * @param {ArrayBuffer} buffer the whole file
 * @returns {Map<string, {shape: number[], data: Float32Array}>} by name
 */
export function readSafetensors(buffer) {
  if (buffer.byteLength < 8) throw new Error(`safetensors: expected a header of 8 bytes, found ${buffer.byteLength}`);
  const headerLength = Number(new DataView(buffer).getBigUint64(0, true));
  if (8 + headerLength > buffer.byteLength) {
    throw new Error(`safetensors: the header names ${headerLength} bytes, the file has ${buffer.byteLength - 8}`);
  }
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, headerLength)));
  const tensors = new Map();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [start, end] = entry.data_offsets;
    if (8 + headerLength + end > buffer.byteLength) throw new Error(`safetensors: ${name} is cut off`);
    const bytes = buffer.slice(8 + headerLength + start, 8 + headerLength + end);
    tensors.set(name, { shape: entry.shape, data: toFloat32(name, entry.dtype, bytes) });
  }
  return tensors;
}

function toFloat32(name, dtype, bytes) {
  if (dtype === "F32") return new Float32Array(bytes);
  if (dtype === "F16") {
    const halves = new Uint16Array(bytes);
    const floats = new Float32Array(halves.length);
    for (let i = 0; i < floats.length; i++) floats[i] = HALF[halves[i]];
    return floats;
  }
  throw new Error(`safetensors: ${name} is ${dtype}, expected F32 or F16`);
}

/** IEEE half precision: 1 sign bit, 5 exponent bits, 10 fraction bits. */
function halfToFloat(half) {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The value of each of the 65,536 halves: looking up is much quicker than working out, a million times over. */
const HALF = new Float32Array(65536);
for (let half = 0; half < HALF.length; half++) HALF[half] = halfToFloat(half);

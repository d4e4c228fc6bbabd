// Safetensors in the page: a header in JSON with names, types, shapes and places, and the numbers behind it.

/**
 * A tensor of a file.
 * @typedef {object} Stored
 * @property {string} dtype such as F16
 * @property {number[]} shape
 * @property {Uint8Array} bytes little-endian, as all browsers' machines are
 */

/** @typedef {Float32Array | Float64Array | Int32Array} Numbers */

/**
 * The tensors of a safetensors file by name, and its metadata.
 * @param {Uint8Array} bytes
 * @returns {{metadata: Record<string, string>, tensors: Map<string, Stored>}}
 */
export function readTensors(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.byteLength < 8 ? -1 : Number(view.getBigUint64(0, true));
  if (length < 0 || 8 + length > bytes.byteLength) throw new Error("the document is damaged: its header is missing");
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  // Not bytes.subarray: what Node reads of a file is a kind of Uint8Array whose slice, used below, does not copy.
  const data = new Uint8Array(bytes.buffer, bytes.byteOffset + 8 + length, bytes.byteLength - 8 - length);
  /** @type {Map<string, Stored>} */
  const tensors = new Map();
  for (const [name, part] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [from, to] = part.data_offsets;
    if (!(to <= data.byteLength)) throw new Error(`the document is damaged: ${name} is cut off`);
    tensors.set(name, { dtype: part.dtype, shape: part.shape, bytes: data.subarray(from, to) });
  }
  return { metadata: header.__metadata__ ?? {}, tensors };
}

/**
 * The numbers of one index of the first dimension: of a head, in most cases.
 * @param {Stored} tensor
 * @param {number} index
 * @returns {Numbers}
 */
export function numbersOf(tensor, index) {
  const { dtype, shape, bytes } = tensor;
  const count = shape.slice(1).reduce((product, size) => product * size, 1);
  const width = bytes.byteLength / Math.max(1, count * shape[0]);
  // Copied, because the place of a tensor in the file need not be a multiple of its numbers' width.
  const own = bytes.slice(index * count * width, (index + 1) * count * width).buffer;
  if (dtype === "F32") return new Float32Array(own);
  if (dtype === "F64") return new Float64Array(own);
  if (dtype === "I32") return new Int32Array(own);
  if (dtype === "F16") return widened(new Uint16Array(own), halves());
  if (dtype === "BF16") return fromBrain(new Uint16Array(own));
  throw new Error(`the document has numbers of the type ${dtype}, which the viewer does not read`);
}

/**
 * @param {Uint16Array} bits
 * @param {Float32Array} values of all 65,536 patterns of bits
 * @returns {Float32Array}
 */
function widened(bits, values) {
  const result = new Float32Array(bits.length);
  for (let at = 0; at < bits.length; at++) result[at] = values[bits[at]];
  return result;
}

/**
 * Numbers of bfloat16, which are the first half of those of float32.
 * @param {Uint16Array} bits
 * @returns {Float32Array}
 */
function fromBrain(bits) {
  const result = new Uint32Array(bits.length);
  for (let at = 0; at < bits.length; at++) result[at] = bits[at] << 16;
  return new Float32Array(result.buffer);
}

/** @type {Float32Array | null} */
let allHalves = null;

/**
 * The value of each pattern of bits of float16.
 * @returns {Float32Array}
 */
function halves() {
  if (allHalves) return allHalves;
  allHalves = new Float32Array(1 << 16);
  for (let bits = 0; bits < 1 << 16; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const power = (bits >> 10) & 31;
    const part = bits & 1023;
    if (power === 31) allHalves[bits] = part ? NaN : sign * Infinity;
    else allHalves[bits] = sign * (power ? (1 + part / 1024) * 2 ** (power - 15) : (part / 1024) * 2 ** -14);
  }
  return allHalves;
}

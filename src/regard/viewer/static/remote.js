// A source that asks a server: weights come as little-endian float32, and are computed there. See viewer/answers.py.

/** @typedef {import("./source.js").Axis} Axis */
/** @typedef {import("./source.js").Layer} Layer */
/** @typedef {import("./source.js").Line} Line */
/** @typedef {import("./source.js").Map2D} Map2D */
/** @typedef {import("./source.js").Source} Source */

/**
 * What there is to see.
 * @typedef {object} Meta
 * @property {string} title
 * @property {string[]} notes
 * @property {Axis[]} axes
 * @property {Layer[]} layers
 */

/**
 * Weights as they come.
 * @typedef {object} Answer
 * @property {string} how
 * @property {number} rows
 * @property {number} columns
 * @property {Float32Array} values
 */

/**
 * Asks for something, such as a tile, with its parameters.
 * @typedef {(what: string, parameters: Record<string, string | number>, signal?: AbortSignal) => Promise<Answer>} Ask
 */

/**
 * The source of a server.
 * @param {string} base the address below which it answers, without a slash at the end
 * @param {RequestInit} [options] of each request, such as headers
 * @returns {Promise<Source>}
 */
export async function openRemote(base, options = {}) {
  const response = await fetch(`${base}/meta`, options);
  if (!response.ok) throw new Error(await reasonOf(response));
  return askedSource(await response.json(), async (what, parameters, signal) => {
    const query = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)]));
    const answer = await fetch(`${base}/${what}?${query}`, { ...options, signal });
    if (!answer.ok) throw new Error(await reasonOf(answer));
    const [rows, columns] = (answer.headers.get("X-Regard-Size") ?? "0,0").split(",").map(Number);
    const how = answer.headers.get("X-Regard-How") ?? "none";
    return { how, rows, columns, values: floatsOf(await answer.arrayBuffer()) };
  });
}

/**
 * A source whose weights are asked for.
 * @param {Meta} meta
 * @param {Ask} ask
 * @returns {Source}
 */
export function askedSource(meta, ask) {
  return {
    ...meta,
    async statistic(layer, head, name) {
      const answer = await ask("statistic", { layer, head, name });
      return answer.how === "none" ? null : answer.values;
    },
    async thumbnail(layer, head, size, pooling) {
      const answer = await ask("thumbnail", { layer, head, size, pooling });
      return answer.how === "none" ? null : asMap(answer);
    },
    async tile(layer, head, window, rows, columns, pooling, signal) {
      const { q0, q1, k0, k1 } = window;
      return asMap(await ask("tile", { layer, head, q0, q1, k0, k1, rows, columns, pooling }, signal));
    },
    async row(layer, head, query) {
      return asLine(await ask("row", { layer, head, query }));
    },
    async column(layer, head, key) {
      return asLine(await ask("column", { layer, head, key }));
    },
  };
}

/**
 * Little-endian float32 as numbers; all browsers' machines are little-endian.
 * @param {ArrayBuffer | DataView} bytes
 * @returns {Float32Array}
 */
export function floatsOf(bytes) {
  if (bytes instanceof ArrayBuffer) return new Float32Array(bytes);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/**
 * @param {Answer} answer
 * @returns {Map2D}
 */
function asMap(answer) {
  return { ...answer, how: /** @type {Map2D["how"]} */ (answer.how) };
}

/**
 * @param {Answer} answer
 * @returns {Line}
 */
function asLine(answer) {
  return { values: answer.values, how: /** @type {Line["how"]} */ (answer.how) };
}

/**
 * Why a server did not answer.
 * @param {Response} response
 * @returns {Promise<string>}
 */
async function reasonOf(response) {
  const text = await response.text();
  return text ? `${response.status}: ${text}` : `${response.status} ${response.statusText}`;
}

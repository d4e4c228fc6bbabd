// A layer of a document: its weights are computed in the page, with pauses, or come from rows or maps.

import { pooledCells, storedCells, thumbnailSide } from "./cells.js";
import { addWeights } from "./exact.js";
import { numbersOf } from "./tensors.js";

/** @typedef {import("./cells.js").Pooling} Pooling */
/** @typedef {import("./exact.js").HeadInputs} HeadInputs */
/** @typedef {import("./source.js").Layer} Layer */
/** @typedef {import("./source.js").Line} Line */
/** @typedef {import("./source.js").Map2D} Map2D */
/** @typedef {import("./source.js").Window} Window */
/** @typedef {import("./tensors.js").Numbers} Numbers */
/** @typedef {import("./tensors.js").Stored} Stored */

/**
 * How to compute weights.
 * @typedef {object} Described
 * @property {"dot" | "distance"} score
 * @property {number} scale
 * @property {number} softcap
 * @property {number[]} [heads] the indices of the heads that there are queries of; by default all
 * @property {number[]} [keys] the index of the keys of each of these; by default they are shared evenly
 */

/** @typedef {Layer & {inputs: Described | null, exact: boolean}} DescribedLayer */

/** The largest number of weights that are computed for a tile; above it, cells of the stored map are used. */
const EXACT_WEIGHTS = 1 << 22;
/** Milliseconds after which a computation lets the page react. */
const SLICE = 8;

/**
 * A layer of a document.
 * @param {DescribedLayer} described
 * @param {string} prefix of the names of its tensors
 * @param {Map<string, Stored>} tensors
 * @param {(key: string, decode: () => Numbers) => Numbers} kept
 */
export function fileLayer(described, prefix, tensors, kept) {
  const [heads, queries, keys] = described.shape;
  const { inputs } = described;
  const all = Array.from({ length: heads }, (_, at) => at);
  const computed = inputs?.heads ?? (inputs ? all : []);
  const whole = { q0: 0, q1: queries, k0: 0, k1: keys };
  const rows = tensorOf("rows") ?? wholeMap();
  const known = rows ? all : computed;
  /** @type {"exact" | "half" | "none"} */
  const single = known.length ? (described.exact ? "exact" : "half") : "none";
  const { name, group, shape, why } = described;
  /** @type {Layer} */
  const meta = {
    name, group, shape, heads: described.heads, queries: described.queries, keys: described.keys, weights: single, known, why,
  };

  /** @param {string} name */
  function tensorOf(name) {
    return tensors.get(prefix + name) ?? null;
  }

  /** A map with a cell for each weight. */
  function wholeMap() {
    const map = tensorOf("map_mean");
    return map && map.shape[1] === queries && map.shape[2] === keys ? map : null;
  }

  /**
   * The numbers of a head, or of all heads if the tensor has one row for all.
   * @param {Stored} tensor
   * @param {string} name
   * @param {number} at
   */
  function part(tensor, name, at) {
    const index = tensor.shape[0] === 1 ? 0 : at;
    return kept(`${prefix}${name}.${index}`, () => numbersOf(tensor, index));
  }

  /**
   * @param {number} head
   * @returns {HeadInputs}
   */
  function inputsOf(head) {
    const [query, key, total] = [tensorOf("query"), tensorOf("key"), tensorOf("total")];
    if (!inputs || !query || !key || !total) throw new Error(`the document is damaged: ${name} has no queries and keys`);
    const at = computed.indexOf(head);
    const shared = inputs.keys ? inputs.keys[at] : Math.floor((at * key.shape[0]) / query.shape[0]);
    const [start, end, relative, sink] = ["start", "end", "relative", "sink"].map((one) => {
      const tensor = tensorOf(one);
      return tensor && part(tensor, one, at);
    });
    return {
      score: inputs.score, scale: inputs.scale, softcap: inputs.softcap, width: query.shape[2], queries, keys,
      query: part(query, "query", at), key: part(key, "key", shared), total: part(total, "total", at), start, end, relative,
      sink: sink ? sink[0] : null,
    };
  }

  /**
   * The heads whose mean is asked for, if each of them can be had.
   * @param {number} head
   */
  function wanted(head) {
    const chosen = head < 0 ? all : [head];
    return chosen.every((one) => known.includes(one)) ? chosen : null;
  }

  /**
   * The mean weights of heads in a window, for the queries from q0 to q1, added to what is there.
   * @param {number} head
   * @param {number} count of heads
   * @param {Window} window
   * @param {Float32Array} into
   * @param {number} at
   */
  function add(head, count, { q0, q1, k0, k1 }, into, at) {
    if (!rows) return addWeights(inputsOf(head), q0, q1, k0, k1, into, at, 1 / count);
    const values = part(rows, "rows", head);
    for (let q = q0; q < q1; q++) for (let k = k0; k < k1; k++) into[at++] += values[q * keys + k] / count;
  }

  /**
   * All weights of a window, with pauses.
   * @param {number[]} chosen heads
   * @param {Window} window
   * @param {AbortSignal} [signal]
   */
  async function exactWeights(chosen, window, signal) {
    const { q0, q1, k0, k1 } = window;
    const into = new Float32Array((q1 - q0) * (k1 - k0));
    const step = Math.max(1, Math.floor((1 << 14) / (k1 - k0)));
    let began = performance.now();
    for (const head of chosen) {
      for (let from = q0; from < q1; from += step) {
        if (performance.now() - began > SLICE) {
          await pause();
          signal?.throwIfAborted();
          began = performance.now();
        }
        const some = { q0: from, q1: Math.min(q1, from + step), k0, k1 };
        add(head, chosen.length, some, into, (from - q0) * (k1 - k0));
      }
    }
    return into;
  }

  /**
   * @param {number} head
   * @param {string} name
   * @returns {Numbers | null} a number for each query, key or cell; the mean of all heads for −1
   */
  function meanOf(head, name) {
    const tensor = tensorOf(name);
    if (!tensor) return null;
    if (head >= 0) return part(tensor, name, head);
    return kept(`${prefix}${name}.mean`, () => {
      const parts = all.map((at) => part(tensor, name, at));
      return parts[0].map((_, at) => parts.reduce((sum, one) => sum + one[at], 0) / heads);
    });
  }

  /**
   * @param {number} head
   * @param {Pooling} pooling
   */
  function storedMap(head, pooling) {
    const tensor = tensorOf(`map_${pooling}`);
    const values = meanOf(head, `map_${pooling}`);
    return tensor && values ? { values, rows: tensor.shape[1], columns: tensor.shape[2], queries, keys } : null;
  }

  /**
   * @param {number} head
   * @param {Window} window
   * @param {number} most rows
   * @param {number} wide columns at most
   * @param {Pooling} pooling
   * @param {AbortSignal} [signal]
   * @returns {Promise<Map2D>}
   */
  async function tile(head, window, most, wide, pooling, signal) {
    const [high, across] = [window.q1 - window.q0, window.k1 - window.k0];
    const size = { rows: Math.min(most, high), columns: Math.min(wide, across) };
    const chosen = wanted(head);
    const map = storedMap(head, pooling);
    if (chosen && (rows || !map || high * across * chosen.length <= EXACT_WEIGHTS)) {
      const weights = await exactWeights(chosen, window, signal);
      if (size.rows === high && size.columns === across && single !== "none") return { ...size, values: weights, how: single };
      return { ...size, values: pooledCells(weights, high, across, size.rows, size.columns, pooling), how: "pooled" };
    }
    if (!map) return { rows: 0, columns: 0, values: new Float32Array(0), how: "coarse" };
    const { values, aligned } = storedCells(map, window, size.rows, size.columns, pooling);
    // The maximum of a mean over heads is not the mean of their maxima.
    const exact = aligned && (head >= 0 || heads === 1 || pooling === "mean");
    return { ...size, values, how: exact ? "pooled" : "coarse" };
  }

  return {
    meta,
    whole,
    tile,
    /**
     * @param {number} head
     * @param {number} size
     * @param {Pooling} pooling
     */
    async thumbnail(head, size, pooling) {
      const map = storedMap(head, pooling);
      if (!rows && map) return tile(head, whole, thumbnailSide(map.rows, size), thumbnailSide(map.columns, size), pooling);
      const chosen = wanted(head);
      const affordable = rows || queries * keys * heads <= EXACT_WEIGHTS;
      return chosen && affordable ? tile(head, whole, size, size, pooling) : null;
    },
    /**
     * @param {number} head
     * @param {"entropy" | "received" | "sinks"} name
     */
    statistic(head, name) {
      const stored = meanOf(head, name);
      if (stored) return Float32Array.from(stored);
      if (!rows) return null;
      const parts = (head < 0 ? all : [head]).map((one) => statisticOf(part(rows, "rows", one), queries, keys, name));
      return parts[0].map((_, at) => parts.reduce((sum, one) => sum + one[at], 0) / parts.length);
    },
    /**
     * @param {number} head
     * @param {Window} window of one query or one key
     * @returns {Line}
     */
    line(head, window) {
      const chosen = wanted(head);
      if (!chosen || single === "none") return { values: new Float32Array(0), how: "none" };
      const values = new Float32Array((window.q1 - window.q0) * (window.k1 - window.k0));
      for (const one of chosen) add(one, chosen.length, window, values, 0);
      return { values, how: single };
    },
  };
}

/**
 * A statistic of all weights of a head.
 * @param {Numbers} weights queries × keys
 * @param {number} queries
 * @param {number} keys
 * @param {"entropy" | "received" | "sinks"} name
 * @returns {Float32Array}
 */
function statisticOf(weights, queries, keys, name) {
  const result = new Float32Array(name === "received" ? keys : queries);
  for (let q = 0; q < queries; q++) {
    if (name === "sinks") result[q] = weights[q * keys];
    else {
      for (let k = 0; k < keys; k++) {
        const weight = weights[q * keys + k];
        if (name === "received") result[k] += weight;
        else if (weight > 0) result[q] -= weight * Math.log(weight);
      }
    }
  }
  return result;
}

/** Lets the page react. */
function pause() {
  return /** @type {Promise<void>} */ (
    new Promise((resolve) => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => {
        channel.port1.close();
        resolve();
      };
      channel.port2.postMessage(null);
    })
  );
}

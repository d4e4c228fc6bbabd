// A source whose weights are a formula, of any length. Blocks of up to 2 × 2 weights are pooled exactly; of larger
// ones, 2 × 2 weights are taken. It counts what is asked for.

/** @typedef {import("../../src/regard/viewer/static/source.js").Source} Source */
/** @typedef {import("../../src/regard/viewer/static/source.js").Axis} Axis */
/** @typedef {import("../../src/regard/viewer/static/source.js").Layer} Layer */
/** @typedef {import("../../src/regard/viewer/static/source.js").Map2D} Map2D */

const WORDS = "the attention of a query looks at every key before it and weighs what it finds there by how near it is".split(" ");
const ARABIC = "ينظر كل سؤال إلى جميع المفاتيح التي قبله ويزن ما يجده هناك".split(" ");

/**
 * @param {Partial<Axis> & {labels: string[]}} given
 * @returns {Axis}
 */
export function axisOf(given) {
  return { words: [], right_to_left: false, unit: "token", pictures: [], places: [], seconds: [], ...given };
}

/**
 * Tokens of running text, with pieces of words.
 * @param {number} length
 */
export function text(length) {
  const labels = Array.from({ length }, (_, at) => (at % 7 === 6 ? "ing" : `▁${WORDS[(at * 5 + (at >> 4)) % WORDS.length]}`));
  const words = [];
  for (let at = 0, word = -1; at < length; at++) words.push(at % 7 === 6 ? word : ++word);
  return axisOf({ labels, words });
}

/** @param {number} length */
export function arabic(length) {
  return axisOf({ labels: Array.from({ length }, (_, at) => ARABIC[at % ARABIC.length]), right_to_left: true });
}

/**
 * Patches of a picture, n × n.
 * @param {number} n
 * @param {string} picture
 */
export function patches(n, picture) {
  const all = [...Array(n * n).keys()];
  const labels = all.map((at) => `${Math.floor(at / n)}, ${at % n}`);
  /** @type {Axis["places"]} */
  const places = all.map((at) => [0, (at % n) / n, Math.floor(at / n) / n, ((at % n) + 1) / n, (Math.floor(at / n) + 1) / n]);
  return axisOf({ labels, unit: "patch", pictures: [picture], places });
}

/**
 * The weight of a query for a key, before it is divided by the sum.
 * @param {number} head
 * @param {number} query
 * @param {number} key
 * @param {number} keys
 * @param {boolean} causal
 */
function raw(head, query, key, keys, causal) {
  if (causal && key > query) return 0;
  if (key === 0) return causal ? 4 : 0.5;
  const distance = Math.abs(query - key);
  const near = Math.exp(-distance / (4 + 8 * head));
  const stride = key % (9 + 2 * head) === 3 ? 0.15 : 0;
  return near + stride * (0.5 + 0.5 * Math.sin(query / 40 + head)) + 0.4 / keys;
}

/**
 * @param {number} layers
 * @param {number} heads
 * @param {Axis} queries
 * @param {Axis} keys
 * @param {{causal?: boolean, weights?: "exact" | "half" | "none", wait?: number, title?: string}} [options]
 * @returns {Source & {asked: {tiles: number, running: number, most: number, cancelled: number}}}
 */
export function synthetic(layers, heads, queries, keys, options = {}) {
  const { causal = queries === keys, weights = "exact", wait = 0, title = "A synthetic model" } = options;
  const [rows, columns] = [queries.labels.length, keys.labels.length];
  /** @type {Map<string, number>} */
  const sums = new Map();
  const total = (/** @type {number} */ head, /** @type {number} */ query) => {
    const key = `${head}.${query}`;
    let sum = sums.get(key) ?? 0;
    if (!sum) {
      // Far from the diagonal the weights repeat: a sample is enough for a long row.
      const step = Math.max(1, Math.floor(columns / 512));
      for (let at = 0; at < columns; at += step) sum += raw(head, query, at, columns, causal) * (at && Math.abs(at - query) > 8 ? step : 1);
      if (sums.size > 200000) sums.clear();
      sums.set(key, sum);
    }
    return sum;
  };
  const heads0 = [...Array(heads).keys()];
  const one = (/** @type {number} */ layer, /** @type {number} */ head, /** @type {number} */ query, /** @type {number} */ key) =>
    raw(head + layer, query, key, columns, causal) / total(head + layer, query);
  const weight = (/** @type {number} */ layer, /** @type {number} */ head, /** @type {number} */ query, /** @type {number} */ key) =>
    head >= 0 ? one(layer, head, query, key) : heads0.reduce((sum, at) => sum + one(layer, at, query, key), 0) / heads;
  const asked = { tiles: 0, running: 0, most: 0, cancelled: 0 };

  /** @type {Source["tile"]} */
  const tile = async (layer, head, { q0, q1, k0, k1 }, height, width, pooling, signal) => {
    asked.tiles++;
    asked.most = Math.max(asked.most, ++asked.running);
    let running = true;
    const end = () => {
      if (running) asked.running--;
      running = false;
    };
    try {
      await new Promise((resolve, reject) => {
        setTimeout(resolve, wait, null);
        signal?.addEventListener("abort", () => {
          asked.cancelled++;
          end();
          reject(signal.reason);
        });
      });
      const values = new Float32Array(height * width);
      const [dq, dk] = [(q1 - q0) / height, (k1 - k0) / width];
      const some = (/** @type {number} */ from, /** @type {number} */ to) =>
        Array.from({ length: Math.min(2, to - from) }, (_, at) => from + Math.floor((at * (to - from)) / Math.min(2, to - from)));
      for (let r = 0; r < height; r++) {
        const own = some(q0 + Math.floor(r * dq), q0 + Math.max(Math.floor((r + 1) * dq), Math.floor(r * dq) + 1));
        for (let c = 0; c < width; c++) {
          if (causal && k0 + c * dk >= q0 + (r + 1) * dq) break;
          const across = some(k0 + Math.floor(c * dk), k0 + Math.max(Math.floor((c + 1) * dk), Math.floor(c * dk) + 1));
          let [sum, most] = [0, 0];
          for (const query of own) for (const key of across) {
            const value = weight(layer, head, query, key);
            sum += value;
            most = Math.max(most, value);
          }
          values[r * width + c] = pooling === "max" ? most : sum / (own.length * across.length);
        }
      }
      const how = weights === "none" ? "coarse" : dq > 1 || dk > 1 ? "pooled" : weights;
      return { rows: height, columns: width, values, how };
    } finally {
      end();
    }
  };
  /** @type {(length: number, value: (at: number) => number) => Promise<import("../../src/regard/viewer/static/source.js").Line>} */
  const line = async (length, value) => weights === "none"
    ? { values: new Float32Array(length), how: "none" }
    : { values: Float32Array.from({ length }, (_, at) => value(at)), how: weights };
  return {
    asked, title, notes: [`${layers} layers, ${heads} heads, ${rows} × ${columns} weights each`], axes: queries === keys ? [queries] : [queries, keys],
    layers: Array.from({ length: layers }, (_, at) => ({
      name: `encoder.layers.${at}.attention`, group: "encoder", shape: [heads, rows, columns], heads: heads0, queries: 0,
      keys: queries === keys ? 0 : 1, weights, why: weights === "none" ? "Only pooled maps were saved." : "",
    })),
    tile,
    statistic: async (layer, head, name) => {
      const length = name === "received" ? columns : rows;
      const step = Math.max(1, Math.floor(rows / 64));
      return Float32Array.from({ length }, (_, at) => {
        if (name === "entropy") return Math.log(1 + at) * (1 - 0.1 * Math.max(0, head));
        if (name === "sinks") return weight(layer, head, at, 0);
        let sum = 0;
        for (let query = 0; query < rows; query += step) sum += step * weight(layer, head, query, at);
        return sum;
      });
    },
    thumbnail: (layer, head, size, pooling) => {
      const window = { q0: 0, q1: rows, k0: 0, k1: columns };
      return tile(layer, head, window, Math.min(size, rows), Math.min(size, columns), pooling);
    },
    row: (layer, head, query) => line(columns, (key) => weight(layer, head, query, key)),
    column: (layer, head, key) => line(rows, (query) => weight(layer, head, query, key)),
  };
}

// The tiles that a state asks for: without sinks, minus another head.

/** @typedef {import("./source.js").Source} Source */
/** @typedef {import("./source.js").Map2D} Map2D */
/** @typedef {import("./source.js").Window} Window */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./weights.js").Weights} Weights */
/** @typedef {import("./tiles.js").Fetch} Fetch */

/**
 * @param {Source} source
 * @param {Weights} weights
 * @param {State} state
 * @returns {Fetch}
 */
export function fetchFor(source, weights, state) {
  const { layer, head, other, pooling, hide } = state;
  /** @type {(layer: number, head: number, ...rest: Parameters<Fetch>) => Promise<Map2D>} */
  const one = async (ofLayer, ofHead, window, rows, columns, signal) => {
    const map = await source.tile(ofLayer, ofHead, window, rows, columns, pooling, signal);
    return hide ? withoutSinks(map, window, pooling, weights, ofLayer, ofHead) : map;
  };
  return async (window, rows, columns, signal) => {
    const first = one(layer, head, window, rows, columns, signal);
    if (!other) return first;
    const [a, b] = await Promise.all([first, one(...other, window, rows, columns, signal)]);
    const order = ["exact", "half", "pooled", "coarse"];
    const how = order.indexOf(a.how) > order.indexOf(b.how) ? a.how : b.how;
    return { ...a, how, values: a.values.map((value, at) => value - b.values[at]) };
  };
}

/**
 * A mean becomes that of the other keys. A maximum of a block with a hidden key is not known, unless the block is one
 * key wide, and becomes no number; so does what is hidden entirely.
 * @param {Map2D} map
 * @param {Window} window
 * @param {"mean" | "max"} pooling
 * @param {Weights} weights
 * @param {number} layer
 * @param {number} head
 * @returns {Promise<Map2D>}
 */
async function withoutSinks(map, window, pooling, weights, layer, head) {
  const { keys } = await weights.sinks(layer, head);
  const width = (window.k1 - window.k0) / map.columns;
  /** @type {Map<number, number[]>} */
  const hidden = new Map();
  for (const key of keys.filter((one) => one >= window.k0 && one < window.k1)) {
    const column = Math.min(map.columns - 1, Math.floor((key + 0.5 - window.k0) / width));
    hidden.set(column, [...(hidden.get(column) ?? []), key]);
  }
  if (!hidden.size) return map;
  const values = map.values.slice();
  for (const [column, inside] of hidden) {
    const rest = Math.max(1, Math.round(width)) - inside.length;
    const known = pooling === "mean" && rest > 0 && map.how !== "coarse";
    const lines = known ? await Promise.all(inside.map((key) => weights.line(layer, head, "key", key))) : [];
    const exact = known && lines.every((line) => line.how === "exact" || line.how === "half");
    for (let row = 0; row < map.rows; row++) {
      const at = row * map.columns + column;
      const mass = lines.reduce((total, line) => total + meanOf(line.values, window, row, map.rows), 0);
      values[at] = exact ? Math.max(0, (values[at] * (rest + inside.length) - mass) / rest) : NaN;
    }
  }
  return { ...map, values };
}

/**
 * The mean of a column's values in one row of cells.
 * @param {Float32Array} values
 * @param {Window} window
 * @param {number} row
 * @param {number} rows
 * @returns {number}
 */
function meanOf(values, { q0, q1 }, row, rows) {
  const height = (q1 - q0) / rows;
  const from = q0 + Math.round(row * height);
  const to = Math.max(from + 1, q0 + Math.round((row + 1) * height));
  let total = 0;
  for (let at = from; at < to; at++) total += values[at];
  return total / (to - from);
}

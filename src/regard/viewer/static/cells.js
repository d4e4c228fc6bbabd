// Weights of a window in fewer cells, and windows of a stored map in more or fewer. Position n of N is in cell
// ⌊n · R / N⌋ of R, as in regard's View.pool. viewer/cells.py does the same in Python.

/** @typedef {"mean" | "max"} Pooling */

/**
 * The first position of each cell, and one past the last.
 * @param {number} first of the window
 * @param {number} end one past the last
 * @param {number} cells
 * @returns {Float64Array}
 */
function edgesOf(first, end, cells) {
  return Float64Array.from({ length: cells + 1 }, (_, at) => first + Math.ceil((at * (end - first)) / cells));
}

/**
 * The exact mean or maximum of each block of weights.
 * @param {Float32Array} weights queries × keys
 * @param {number} queries
 * @param {number} keys
 * @param {number} rows
 * @param {number} columns
 * @param {Pooling} pooling
 * @returns {Float32Array} rows × columns
 */
export function pooledCells(weights, queries, keys, rows, columns, pooling) {
  const up = edgesOf(0, queries, rows);
  const across = edgesOf(0, keys, columns);
  const result = new Float32Array(rows * columns);
  const line = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    line.fill(0);
    for (let query = up[row]; query < up[row + 1]; query++) {
      for (let column = 0; column < columns; column++) {
        const end = query * keys + across[column + 1];
        let value = line[column];
        if (pooling === "mean") for (let at = query * keys + across[column]; at < end; at++) value += weights[at];
        else for (let at = query * keys + across[column]; at < end; at++) value = Math.max(value, weights[at]);
        line[column] = value;
      }
    }
    for (let column = 0; column < columns; column++) {
      const count = pooling === "mean" ? (up[row + 1] - up[row]) * (across[column + 1] - across[column]) : 1;
      result[row * columns + column] = line[column] / count;
    }
  }
  return result;
}

/**
 * A map that is stored.
 * @typedef {object} StoredMap
 * @property {Float32Array | Float64Array | Int32Array} values rows × columns
 * @property {number} rows
 * @property {number} columns
 * @property {number} queries the number of queries of the whole map
 * @property {number} keys
 */

/**
 * A window of a stored map in other cells. If they do not consist of whole cells of the map (aligned is then false), the
 * weights within a cell of the map count as equal.
 * @param {StoredMap} map
 * @param {import("./source.js").Window} window
 * @param {number} rows
 * @param {number} columns
 * @param {Pooling} pooling
 * @returns {{values: Float32Array, aligned: boolean}}
 */
export function storedCells(map, window, rows, columns, pooling) {
  const up = sharesOf(map.queries, map.rows, window.q0, window.q1, rows);
  const across = sharesOf(map.keys, map.columns, window.k0, window.k1, columns);
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let value = 0;
      for (const [r, high] of up.shares[row]) {
        for (const [c, wide] of across.shares[column]) {
          const cell = map.values[r * map.columns + c];
          value = pooling === "mean" ? value + high * wide * cell : Math.max(value, cell);
        }
      }
      result[row * columns + column] = value;
    }
  }
  return { values: result, aligned: up.aligned && across.aligned };
}

/**
 * Which part of each cell of a window is in which cells of the map, along one side.
 * @param {number} length
 * @param {number} stored the number of cells of the map
 * @param {number} first
 * @param {number} end
 * @param {number} cells
 * @returns {{shares: [number, number][][], aligned: boolean}}
 */
function sharesOf(length, stored, first, end, cells) {
  const outer = edgesOf(0, length, stored);
  const inner = edgesOf(first, end, cells);
  const all = new Set(outer);
  /** @type {[number, number][][]} */
  const shares = [];
  for (let cell = 0; cell < cells; cell++) {
    const [from, to] = [inner[cell], inner[cell + 1]];
    /** @type {[number, number][]} */
    const parts = [];
    for (let at = Math.floor((from * stored) / length); at < stored && outer[at] < to; at++) {
      const shared = Math.min(to, outer[at + 1]) - Math.max(from, outer[at]);
      if (shared > 0) parts.push([at, shared / (to - from)]);
    }
    shares.push(parts);
  }
  return { shares, aligned: inner.every((edge) => all.has(edge)) };
}

/**
 * The numbers of rows or columns of a thumbnail: a divisor of those of the stored map, so that each of its cells is exact,
 * unless there is none of a useful size.
 * @param {number} stored
 * @param {number} most
 * @returns {number}
 */
export function thumbnailSide(stored, most) {
  for (let side = Math.min(stored, most); 2 * side >= Math.min(stored, most); side--) if (stored % side === 0) return side;
  return Math.min(stored, most);
}

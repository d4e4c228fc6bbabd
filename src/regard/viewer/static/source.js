// What the viewer reads from. There are three sources: a document's bytes (file.js), a server that computes tiles
// (remote.js), and a notebook's kernel (notebook.js). All of them are objects of the type Source.

/**
 * The queries or the keys of layers.
 * @typedef {object} Axis
 * @property {string[]} labels a text for each position
 * @property {number[]} words the number of the word that each position belongs to; empty: each is its own
 * @property {boolean} right_to_left whether the text is written so
 * @property {string} unit what a position is: token, patch, moment, frame, item, box
 * @property {string[]} pictures addresses of images
 * @property {([number, number, number, number, number] | null)[]} places the number of a picture, and left, top, right
 *   and bottom in it, from 0 to 1; empty: no position has a place
 * @property {[number, number][]} seconds start and end of each position; empty: there is no time
 */

/**
 * One call of attention.
 * @typedef {object} Layer
 * @property {string} name
 * @property {string} group the name of layers of the same kind
 * @property {[number, number, number]} shape heads, queries, keys
 * @property {number[]} heads the number of each head in the model
 * @property {number} queries the number of an axis
 * @property {number} keys the number of an axis
 * @property {"exact" | "half" | "none"} weights whether any weight can be had: as the model computed it, or from queries
 *   and keys in half precision, or not
 * @property {number[]} [known] the indices of the heads whose weights can be had, by default all; the mean, if all can
 * @property {string} why why not; empty: they can
 */

/**
 * A part of the weights, in which cell (r, c) stands for a block of queries and keys.
 * @typedef {object} Map2D
 * @property {number} rows
 * @property {number} columns
 * @property {Float32Array} values rows × columns
 * @property {"exact" | "half" | "pooled" | "coarse"} how exact: each cell is one weight; half: the same, from rounded
 *   queries and keys; pooled: each cell is the exact mean or maximum of its block; coarse: cells of a coarser map,
 *   repeated, because the source has no finer one
 */

/**
 * Weights of one query for all keys, or of all queries for one key.
 * @typedef {object} Line
 * @property {Float32Array} values
 * @property {"exact" | "half" | "top" | "none"} how
 */

/**
 * @typedef {object} Window
 * @property {number} q0 the first query
 * @property {number} q1 one past the last query
 * @property {number} k0
 * @property {number} k1
 */

/**
 * A head is its index in layer.shape[0]; −1 is the mean of all heads of the layer.
 * @typedef {object} Source
 * @property {string} title
 * @property {string[]} notes
 * @property {Axis[]} axes
 * @property {Layer[]} layers
 * @property {(layer: number, head: number, name: "entropy" | "received" | "sinks") => Promise<Float32Array | null>}
 *   statistic one number a query (entropy in nats, sinks: the weight on the first key and on a sink) or a key
 * @property {(layer: number, head: number, size: number, pooling: "mean" | "max") => Promise<Map2D | null>} thumbnail
 *   the whole map in at most size × size cells
 * @property {(layer: number, head: number, window: Window, rows: number, columns: number, pooling: "mean" | "max",
 *   signal?: AbortSignal) => Promise<Map2D>} tile a window in rows × columns cells
 * @property {(layer: number, head: number, query: number) => Promise<Line>} row
 * @property {(layer: number, head: number, key: number) => Promise<Line>} column
 */

export {};

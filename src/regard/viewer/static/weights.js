// Weights of a selected query or key, as the state asks for them: without sinks, by words, minus another head.

import { Recent } from "./recent.js";

/** @typedef {import("./source.js").Source} Source */
/** @typedef {import("./source.js").Axis} Axis */
/** @typedef {import("./source.js").Line} Line */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Side} Side */

/**
 * Weights of one query for all keys, or of all queries for one key.
 * @typedef {object} Reading
 * @property {Side} side of what is selected
 * @property {number} index
 * @property {Float32Array} values one a position of the other side; by words, each piece has its word's weight
 * @property {Line["how"]} how
 * @property {number} removed the mass of hidden keys
 * @property {number} covered the mass of what is shown: less than 1 where only the top keys are known
 */

/**
 * Keys that receive so much that the others can hardly be seen.
 * @typedef {object} Sinks
 * @property {number[]} keys
 * @property {number | null} mass the mean weight of all of them; null: it is not known
 */

/** A key is hidden if its mean weight is at least this, and this many times that of an even distribution. */
const [SINK_WEIGHT, SINK_TIMES] = [0.1, 8];
const MOST_SINKS = 8;

/** Lines and statistics of a source; those used last are kept. */
export class Weights {
  /** @param {Source} source */
  constructor(source) {
    this.source = source;
    /** @type {Recent<Promise<Line>>} */
    this.lines = new Recent(96);
    /** @type {Recent<Promise<Float32Array | null>>} */
    this.statistics = new Recent(96);
  }

  /**
   * @param {number} layer
   * @param {number} head
   * @param {Side} side
   * @param {number} index
   * @returns {Promise<Line>}
   */
  line(layer, head, side, index) {
    return kept(this.lines, `${layer}.${head}.${side}.${index}`, () =>
      side === "query" ? this.source.row(layer, head, index) : this.source.column(layer, head, index));
  }

  /**
   * @param {number} layer
   * @param {number} head
   * @param {"entropy" | "received" | "sinks"} name
   * @returns {Promise<Float32Array | null>}
   */
  statistic(layer, head, name) {
    return kept(this.statistics, `${layer}.${head}.${name}`, () => this.source.statistic(layer, head, name));
  }

  /**
   * What each key receives; hidden keys have 0.
   * @param {number} layer
   * @param {number} head
   * @param {boolean} hide
   * @returns {Promise<Float32Array | null>}
   */
  async received(layer, head, hide) {
    const received = await this.statistic(layer, head, "received");
    if (!received || !hide) return received;
    const { keys } = await this.sinks(layer, head);
    return received.map((value, at) => (keys.includes(at) ? 0 : value));
  }

  /**
   * The first key, and others with a very high mean weight.
   * @param {number} layer
   * @param {number} head
   * @returns {Promise<Sinks>}
   */
  async sinks(layer, head) {
    const [, queries, length] = this.source.layers[layer].shape;
    const received = await this.statistic(layer, head, "received");
    if (!received) {
      const weights = await this.statistic(layer, head, "sinks");
      return { keys: [0], mass: weights && sum(weights) / queries };
    }
    const least = Math.max(SINK_WEIGHT, SINK_TIMES / length) * queries;
    const high = [...received.keys()].filter((key) => key > 0 && received[key] >= least);
    const keys = [0, ...high.sort((a, b) => received[b] - received[a]).slice(0, MOST_SINKS - 1)];
    return { keys, mass: keys.reduce((total, key) => total + received[key], 0) / queries };
  }

  /**
   * @param {State} state
   * @param {Side} side
   * @param {number} index
   * @returns {Promise<Reading>}
   */
  async reading(state, side, index) {
    const first = await this.ofHead(state, state.layer, state.head, side, index);
    if (!state.other) return first;
    const second = await this.ofHead(state, ...state.other, side, index);
    const values = first.values.map((value, at) => value - second.values[at]);
    return { ...first, values, how: worse(first.how, second.how) };
  }

  /**
   * @param {State} state
   * @param {number} layer
   * @param {number} head
   * @param {Side} side
   * @param {number} index
   * @returns {Promise<Reading>}
   */
  async ofHead(state, layer, head, side, index) {
    const { queries, keys } = this.source.layers[layer];
    const [own, across] = side === "query" ? [queries, keys] : [keys, queries];
    const members = state.words ? pieces(this.source.axes[own], index) : [index];
    const lines = await Promise.all(members.map((member) => this.line(layer, head, side, member)));
    const values = new Float32Array(this.source.axes[across].labels.length);
    // Keys are summed, queries averaged.
    const factor = side === "query" ? 1 / members.length : 1;
    for (const line of lines) for (let at = 0; at < line.values.length; at++) values[at] += factor * line.values[at];
    const total = sum(values);
    if (state.hide && side === "query") for (const key of (await this.sinks(layer, head)).keys) values[key] = 0;
    const covered = sum(values);
    if (state.words) joinWords(values, this.source.axes[across], side === "query");
    return { side, index, values, how: lines.map((line) => line.how).reduce(worse), removed: total - covered, covered };
  }
}

/**
 * @template T
 * @param {Recent<Promise<T>>} recent
 * @param {string} key
 * @param {() => Promise<T>} make
 * @returns {Promise<T>}
 */
function kept(recent, key, make) {
  const there = recent.get(key);
  if (there) return there;
  const made = make();
  recent.set(key, made);
  made.catch(() => recent.delete(key));
  return made;
}

/**
 * @param {ArrayLike<number>} values
 * @returns {number}
 */
function sum(values) {
  let total = 0;
  for (let at = 0; at < values.length; at++) total += values[at];
  return total;
}

/**
 * @param {Line["how"]} a
 * @param {Line["how"]} b
 * @returns {Line["how"]}
 */
function worse(a, b) {
  /** @type {Line["how"][]} */
  const order = ["exact", "half", "top", "none"];
  return order[Math.max(order.indexOf(a), order.indexOf(b))];
}

/**
 * The positions of a position's word.
 * @param {Axis} axis
 * @param {number} index
 * @returns {number[]}
 */
export function pieces(axis, index) {
  if (!axis.words.length) return [index];
  let [from, to] = [index, index + 1];
  while (from > 0 && axis.words[from - 1] === axis.words[index]) from--;
  while (to < axis.words.length && axis.words[to] === axis.words[index]) to++;
  return Array.from({ length: to - from }, (_, at) => from + at);
}

/**
 * Give each piece its word's value.
 * @param {Float32Array} values changed in place
 * @param {Axis} axis
 * @param {boolean} summed otherwise averaged
 */
function joinWords(values, axis, summed) {
  if (!axis.words.length) return;
  for (let at = 0; at < values.length; ) {
    const members = pieces(axis, at);
    const total = members.reduce((so, member) => so + values[member], 0);
    for (const member of members) values[member] = summed ? total : total / members.length;
    at += members.length;
  }
}

/**
 * Whether a position stands for itself or, by words, begins its word.
 * @param {Axis} axis
 * @param {number} index
 * @param {boolean} words
 */
export function stands(axis, index, words) {
  return !words || !axis.words.length || index === 0 || axis.words[index - 1] !== axis.words[index];
}

/**
 * A position's label or, by words, that of its word.
 * @param {Axis} axis
 * @param {number} index
 * @param {boolean} words
 * @returns {string}
 */
export function labelOf(axis, index, words) {
  if (!words || !axis.words.length) return axis.labels[index];
  return pieces(axis, index).map((piece) => axis.labels[piece].replace(/^##/, "")).join("").replace(/^[▁Ġ]/, "");
}

// What is shown, as one object, and as the part of the page's address after the #.

/** @typedef {import("./source.js").Source} Source */
/** @typedef {import("./source.js").Window} Window */
/** @typedef {import("./colours.js").Scale} Scale */
/** @typedef {"query" | "key"} Side */

/**
 * @typedef {object} State
 * @property {number} layer
 * @property {number} head −1: the mean of all heads
 * @property {[number, number] | null} other layer and head that are subtracted
 * @property {Side} side whether queries or keys are selected
 * @property {number} selected a position; −1: none
 * @property {number} hover the position under the pointer; −1: none
 * @property {Side} hoverSide
 * @property {number[]} pins queries whose weights are shown below each other
 * @property {Window | null} region the part of the map that is shown; null: the whole
 * @property {"mean" | "max"} pooling
 * @property {Scale} scale
 * @property {number} low where the colours begin, from 0 to 1 of the scale
 * @property {number} high where they end
 * @property {boolean} hide whether keys that receive very much are hidden
 * @property {boolean} words whether weights are summed by words
 * @property {string} find a text to search for
 */

/** @type {State} */
const INITIAL = {
  layer: 0, head: 0, other: null, side: "query", selected: -1, hover: -1, hoverSide: "query", pins: [], region: null,
  pooling: "mean", scale: "sqrt", low: 0, high: 1, hide: false, words: false, find: "",
};

/** The state, and who is told of its changes. */
export class Store {
  /**
   * @param {Source} source
   * @param {Partial<State>} [given]
   */
  constructor(source, given = {}) {
    this.source = source;
    /** @type {State} */
    this.state = possible({ ...INITIAL, ...given }, source);
    /** @type {((state: State, changed: Set<keyof State>) => void)[]} */
    this.listeners = [];
  }

  /** @param {Partial<State>} change */
  set(change) {
    const before = this.state;
    const merged = { ...before, ...change };
    if (merged.layer !== before.layer || merged.head !== before.head) merged.hover = -1;
    const after = possible(merged, this.source);
    const names = /** @type {(keyof State)[]} */ (Object.keys(after));
    const changed = new Set(names.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name])));
    if (!changed.size) return;
    this.state = after;
    for (const listener of this.listeners) listener(after, changed);
  }

  /** @param {(state: State, changed: Set<keyof State>) => void} listener */
  listen(listener) {
    this.listeners.push(listener);
  }

  /** The layer that is shown. */
  get layer() {
    return this.source.layers[this.state.layer];
  }

  /**
   * The axis of the queries or the keys.
   * @param {Side} side
   */
  axis(side) {
    return this.source.axes[side === "query" ? this.layer.queries : this.layer.keys];
  }
}

/**
 * What previews or is selected.
 * @param {State} state
 * @returns {{side: Side, index: number} | null}
 */
export function activeOf(state) {
  if (state.hover >= 0) return { side: state.hoverSide, index: state.hover };
  return state.selected >= 0 ? { side: state.side, index: state.selected } : null;
}

/**
 * The nearest state that the source has: addresses are written by people, and layers differ in their lengths.
 * @param {State} state
 * @param {Source} source
 * @returns {State}
 */
function possible(state, source) {
  const layer = within(state.layer, 0, source.layers.length - 1);
  const [heads, queries, keys] = source.layers[layer].shape;
  const length = state.side === "query" ? queries : keys;
  return {
    ...state,
    layer,
    head: within(state.head, -1, heads - 1),
    other: comparable(state.other, layer, source),
    selected: state.selected < length ? Math.max(-1, state.selected) : -1,
    hover: state.hover < (state.hoverSide === "query" ? queries : keys) ? state.hover : -1,
    pins: [...new Set(state.pins)].filter((pin) => pin >= 0 && pin < queries),
    region: state.region && cut(state.region, queries, keys),
    low: Math.min(within(state.low, 0, 1), state.high - 0.01),
    high: within(state.high, 0.01, 1),
  };
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
function within(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

/**
 * @param {[number, number] | null} other
 * @param {number} layer
 * @param {Source} source
 * @returns {[number, number] | null}
 */
function comparable(other, layer, source) {
  const there = other && source.layers[other[0]];
  const [, queries, keys] = source.layers[layer].shape;
  if (!other || !there || there.shape[1] !== queries || there.shape[2] !== keys) return null;
  return [other[0], within(other[1], -1, there.shape[0] - 1)];
}

/**
 * @param {Window} region
 * @param {number} queries
 * @param {number} keys
 * @returns {Window | null}
 */
function cut({ q0, q1, k0, k1 }, queries, keys) {
  const [width, height] = [Math.min(k1 - k0, keys), Math.min(q1 - q0, queries)];
  if (!(width > 0) || !(height > 0) || (width === keys && height === queries)) return null;
  const [top, left] = [within(q0, 0, queries - height), within(k0, 0, keys - width)];
  return { q0: top, q1: top + height, k0: left, k1: left + width };
}

/**
 * @param {State} state
 * @returns {string} without the #; what is as in the beginning is left out
 */
export function writeAddress(state) {
  const { region, other } = state;
  const parts = new URLSearchParams();
  /** @type {(name: string, value: string | number | boolean, initial: string | number | boolean) => void} */
  const add = (name, value, initial) => {
    if (value !== initial) parts.set(name, String(value));
  };
  add("layer", state.layer, 0);
  add("head", state.head, 0);
  if (other) parts.set("minus", other.join("."));
  if (state.selected >= 0) parts.set(state.side, String(state.selected));
  add("pins", state.pins.join("."), "");
  if (region) parts.set("map", [region.q0, region.q1, region.k0, region.k1].map((at) => Number(at.toFixed(2))).join("_"));
  add("pooling", state.pooling, INITIAL.pooling);
  add("scale", state.scale, INITIAL.scale);
  add("low", Number(state.low.toFixed(3)), 0);
  add("high", Number(state.high.toFixed(3)), 1);
  add("hide", state.hide, false);
  add("words", state.words, false);
  add("find", state.find, "");
  return parts.toString();
}

/**
 * @param {string} address with or without the #
 * @returns {State}
 */
export function readAddress(address) {
  const parts = new URLSearchParams(address.replace(/^#/, ""));
  const number = (/** @type {string} */ name, /** @type {number} */ otherwise) => {
    const value = Number(parts.get(name) ?? "x");
    return Number.isFinite(value) ? value : otherwise;
  };
  const whole = (/** @type {string} */ name, /** @type {number} */ otherwise) => Math.round(number(name, otherwise));
  const list = (/** @type {string} */ name, /** @type {string} */ between) =>
    (parts.get(name) ?? "").split(between).filter(Boolean).map(Number).filter(Number.isFinite);
  const [scale, minus, map] = [parts.get("scale"), list("minus", "."), list("map", "_")];
  return {
    ...INITIAL,
    layer: whole("layer", 0),
    head: whole("head", 0),
    other: minus.length === 2 ? [Math.max(0, Math.round(minus[0])), Math.round(minus[1])] : null,
    side: parts.has("key") ? "key" : "query",
    selected: whole(parts.has("key") ? "key" : "query", -1),
    pins: list("pins", ".").map(Math.round),
    region: map.length === 4 ? { q0: map[0], q1: map[1], k0: map[2], k1: map[3] } : null,
    pooling: parts.get("pooling") === "max" ? "max" : "mean",
    scale: scale === "linear" || scale === "log" ? scale : "sqrt",
    low: number("low", 0),
    high: number("high", 1),
    hide: parts.get("hide") === "true",
    words: parts.get("words") === "true",
    find: parts.get("find") ?? "",
  };
}

// The weights of what previews or is selected, for all parts of the page that show them.

import { fitted } from "./colours.js";
import { activeOf } from "./state.js";

/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./colours.js").Colouring} Colouring */
/** @typedef {import("./state.js").Side} Side */
/** @typedef {import("./weights.js").Weights} Weights */
/** @typedef {import("./weights.js").Reading} Reading */

/** Changes of the state after which other weights are needed. */
const NEW_READING = /** @type {const} */ (["layer", "head", "other", "side", "selected", "hover", "hoverSide", "hide", "words"]);

/** Follows the state; of readings that are asked for in a row, only the last one counts. */
export class Current {
  /**
   * @param {Store} store
   * @param {Weights} weights
   */
  constructor(store, weights) {
    this.store = store;
    this.weights = weights;
    /** @type {Reading | null} */
    this.reading = null;
    /** @type {Float32Array | null} what keys receive, for when nothing is selected */
    this.received = null;
    this.problem = "";
    this.turn = 0;
    /** @type {(() => void)[]} */
    this.listeners = [];
    store.listen((state, changed) => {
      if (NEW_READING.some((name) => changed.has(name))) this.read();
    });
  }

  /** @param {() => void} listener */
  listen(listener) {
    this.listeners.push(listener);
  }

  /**
   * The weights by which the positions of an axis are shaded, or null.
   * @param {Side[]} sides whether they are queries, keys or both
   */
  shading(sides) {
    if (!this.reading) return sides.includes("key") ? this.received : null;
    return sides.includes(this.reading.side === "query" ? "key" : "query") ? this.reading.values : null;
  }

  /**
   * The colours of these weights: the scale ends at the largest one.
   * @param {Float32Array | null} values
   * @returns {Colouring}
   */
  colouring(values) {
    const { scale, low, high, other } = this.store.state;
    return fitted({ scale, top: 1, low, high, signed: other !== null }, values ?? []);
  }

  async read() {
    const turn = ++this.turn;
    const { state } = this.store;
    const active = activeOf(state);
    let reading = null;
    let problem = "";
    let received = null;
    try {
      if (active) reading = await this.weights.reading(state, active.side, active.index);
      else if (!state.other) received = await this.weights.received(state.layer, state.head, state.hide);
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    if (turn !== this.turn) return;
    [this.reading, this.received, this.problem] = [reading, received, problem];
    for (const listener of this.listeners) listener();
  }
}

// The weights of what is selected as a table: the top keys first, or in their order.

import { element } from "./dom.js";
import { describe, formatSeconds, formatShare, formatWeight, nameOfHow, visible } from "./numbers.js";
import { labelOf, stands } from "./weights.js";

/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./current.js").Current} Current */
/** @typedef {import("./weights.js").Reading} Reading */

/** Rows of the table at a time. */
const ROWS = 12;

/** A table of one reading, by pages. */
export class WeightTable {
  /**
   * @param {Store} store
   * @param {Current} current
   * @param {AbortSignal} signal
   */
  constructor(store, current, signal) {
    this.store = store;
    this.current = current;
    this.page = 0;
    this.shown = "";
    this.byWeight = true;
    this.caption = element("p", { class: "regard-caption", role: "status" });
    this.table = element("table", { class: "regard-table" });
    this.order = element("button", { type: "button" });
    this.before = element("button", { type: "button" }, "Previous");
    this.after = element("button", { type: "button" }, "Next");
    this.where = element("span", { class: "regard-quiet" });
    this.parts = element("div", { class: "regard-parts" }, this.order, this.before, this.where, this.after);
    this.node = element("div", { class: "regard-row" }, this.caption, this.table, this.parts);
    const turn = (/** @type {number} */ step) => () => {
      this.page += step;
      this.show();
    };
    this.before.addEventListener("click", turn(-1), { signal });
    this.after.addEventListener("click", turn(1), { signal });
    this.order.addEventListener("click", () => {
      [this.byWeight, this.page] = [!this.byWeight, 0];
      this.show();
    }, { signal });
    this.table.addEventListener("click", (event) => {
      const button = event.target instanceof Element ? event.target.closest("button") : null;
      if (button) this.follow(Number(button.dataset.at));
    }, { signal });
  }

  /**
   * Select the position of a row, on the other side.
   * @param {number} at
   */
  follow(at) {
    const { reading } = this.current;
    if (reading) this.store.set({ side: reading.side === "query" ? "key" : "query", selected: at, hover: -1 });
  }

  /**
   * The positions in the table's order. What is not known to have weight is left out.
   * @param {Reading} reading
   * @returns {number[]}
   */
  positions(reading) {
    const { words } = this.store.state;
    const axis = this.store.axis(reading.side === "query" ? "key" : "query");
    const all = [];
    for (let at = 0; at < reading.values.length; at++) {
      if (stands(axis, at, words) && (reading.how !== "top" || reading.values[at] !== 0)) all.push(at);
    }
    const { values } = reading;
    return this.byWeight ? all.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])) : all;
  }

  show() {
    const { reading, problem } = this.current;
    const key = reading ? `${reading.side}${reading.index}` : "";
    if (key !== this.shown) [this.shown, this.page] = [key, 0];
    const usable = reading && reading.how !== "none" ? reading : null;
    this.table.hidden = this.parts.hidden = !usable;
    if (!usable) {
      const why = whyNone(this.store.layer);
      this.caption.textContent = problem || (reading ? why : "Select a query in the map or the text to see its weights.");
      return;
    }
    const all = this.positions(usable);
    const pages = Math.max(1, Math.ceil(all.length / ROWS));
    this.page = Math.min(pages - 1, Math.max(0, this.page));
    const some = all.slice(this.page * ROWS, (this.page + 1) * ROWS);
    this.caption.textContent = summary(this.store, usable, all);
    this.fill(usable, some, all.length);
    this.order.textContent = this.byWeight ? "In order of position" : "Largest first";
    this.where.textContent = `${this.page + 1} of ${pages.toLocaleString("en")}`;
    this.before.disabled = this.page === 0;
    this.after.disabled = this.page === pages - 1;
  }

  /**
   * @param {Reading} reading
   * @param {number[]} some
   * @param {number} total
   */
  fill(reading, some, total) {
    const { words, other } = this.store.state;
    const axis = this.store.axis(reading.side === "query" ? "key" : "query");
    const timed = axis.seconds.length > 0;
    const top = Math.max(1e-12, ...some.map((at) => Math.abs(reading.values[at])));
    const columns = ["Position", reading.side === "query" ? "Key" : "Query", ...(timed ? ["Time"] : []), other ? "Difference" : "Weight"];
    const head = element("tr", { "aria-rowindex": 1 }, ...columns.map((name) => element("th", { scope: "col" }, name)));
    const body = some.map((at, row) => {
      const label = element("button", { type: "button", class: "regard-link", dir: "auto" }, visible(labelOf(axis, at, words)));
      label.dataset.at = String(at);
      const bar = element("span", { class: reading.values[at] < 0 ? "regard-bar regard-less" : "regard-bar", "aria-hidden": "true" });
      bar.style.width = `${(100 * Math.abs(reading.values[at])) / top}%`;
      const cells = [element("td", {}, at.toLocaleString("en")), element("td", {}, label)];
      if (timed) cells.push(element("td", {}, axis.seconds[at] ? formatSeconds(axis.seconds[at]) : ""));
      cells.push(element("td", { class: "regard-weight" }, bar, element("span", {}, formatWeight(reading.values[at]))));
      return element("tr", { "aria-rowindex": this.page * ROWS + row + 2 }, ...cells);
    });
    this.table.setAttribute("aria-rowcount", String(total + 1));
    this.table.setAttribute("aria-label", `Weights of ${reading.side} ${describe(this.store.axis(reading.side), reading.index)}`);
    this.table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
  }
}

/**
 * Why the weights of single positions cannot be had.
 * @param {import("./source.js").Layer} layer
 * @returns {string}
 */
export function whyNone({ why, known, heads }) {
  if (why) return why;
  const names = known?.map((at) => heads[at] ?? at).join(", ");
  return names ? `Only heads ${names} of this layer have weights of single positions here.` : "The weights of single positions are not available.";
}

/**
 * What the numbers of a reading are.
 * @param {Store} store
 * @param {Reading} reading
 * @param {number[]} all the positions of the table
 * @returns {string}
 */
function summary(store, reading, all) {
  const { words, other } = store.state;
  const name = `${reading.side === "query" ? "Query" : "Key"} ${describe(store.axis(reading.side), reading.index)}`;
  const parts = [`${name}: ${other ? "differences of weights" : "weights"}, ${nameOfHow(reading.how)}`];
  if (words) parts.push("by words");
  if (reading.how === "top") parts.push(`${all.length} known, with ${formatShare(reading.covered + reading.removed)} of the mass`);
  if (reading.removed > 0) parts.push(`hidden keys had ${formatShare(reading.removed)} of the mass`);
  return `${parts.join("; ")}.`;
}

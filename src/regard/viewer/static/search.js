// Search for a text in the labels: all hits are marked, and can be stepped through.

import { element } from "./dom.js";

/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./state.js").Side} Side */
/** @typedef {{side: Side, positions: number[]}} Hits */

/** A search over the labels of the side that is selected. */
export class Search {
  /**
   * @param {Store} store
   * @param {AbortSignal} signal
   */
  constructor(store, signal) {
    this.store = store;
    /** @type {Hits} */
    this.last = { side: "query", positions: [] };
    this.asked = "";
    this.input = element("input", { type: "search", placeholder: "Search", "aria-label": "Search for a position", spellcheck: "false" });
    this.count = element("span", { class: "regard-quiet", role: "status" });
    const button = (/** @type {string} */ text, /** @type {string} */ name, /** @type {1 | -1} */ way) => {
      const one = element("button", { type: "button", "aria-label": name }, text);
      one.addEventListener("click", () => this.step(way), { signal });
      return one;
    };
    this.node = element("div", { class: "regard-search", role: "search" }, this.input,
      button("↑", "Previous hit", -1), button("↓", "Next hit", 1), this.count);
    this.input.addEventListener("input", () => store.set({ find: this.input.value }), { signal });
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
      else if (event.key === "Escape" && this.input.value) store.set({ find: "" });
      else return;
      event.preventDefault();
      event.stopPropagation();
    }, { signal });
    store.listen(() => this.show());
    this.show();
  }

  /** @returns {Hits} the positions whose labels have the text */
  hits() {
    const { find, side, layer } = this.store.state;
    const asked = JSON.stringify([find, side, layer]);
    if (asked !== this.asked) {
      const text = find.toLowerCase();
      const { labels } = this.store.axis(side);
      const positions = text ? [...labels.keys()].filter((at) => labels[at].toLowerCase().includes(text)) : [];
      [this.asked, this.last] = [asked, { side, positions }];
    }
    return this.last;
  }

  /**
   * Select the next hit after what is selected, or the one before; after the last comes the first.
   * @param {1 | -1} way
   */
  step(way) {
    const { positions } = this.hits();
    if (!positions.length) return;
    const { selected } = this.store.state;
    const next = way > 0 ? positions.find((at) => at > selected) : positions.findLast((at) => at < selected);
    this.store.set({ selected: next ?? positions[way > 0 ? 0 : positions.length - 1], hover: -1 });
  }

  show() {
    const { state } = this.store;
    if (this.input.value !== state.find) this.input.value = state.find;
    const { positions } = this.hits();
    const at = positions.indexOf(state.selected);
    if (!state.find) this.count.textContent = "";
    else if (!positions.length) this.count.textContent = "no hit";
    else this.count.textContent = at < 0 ? `${positions.length} hits` : `${at + 1} of ${positions.length}`;
  }
}

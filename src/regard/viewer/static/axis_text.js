// The positions of an axis as running text, shaded by weights. Of a long text, a part is in the page.

import { css, inkOn, shade, strength } from "./colours.js";
import { element, themeOf } from "./dom.js";
import { describe, visible } from "./numbers.js";
import { connectPicking } from "./picking.js";
import { addStrip } from "./strip.js";
import { activeOf } from "./state.js";
import { stands } from "./weights.js";

/** @typedef {import("./source.js").Axis} Axis */
/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Side} Side */
/** @typedef {import("./current.js").Current} Current */
/** @typedef {import("./search.js").Hits} Hits */

/** Positions that are in the page at a time. */
const SHOWN = 500;
let texts = 0;

/** The text of the queries, of the keys, or of both where they are the same. */
export class AxisText {
  /**
   * @param {Element} root
   * @param {Store} store
   * @param {Current} current
   * @param {() => Hits} hits
   * @param {Side[]} sides
   * @param {AbortSignal} signal
   */
  constructor(root, store, current, hits, sides, signal) {
    this.root = root;
    this.store = store;
    this.current = current;
    this.hits = hits;
    this.sides = sides;
    this.axis = store.axis(sides[0]);
    this.start = 0;
    /** @type {HTMLElement[]} the tokens that are in the page */
    this.options = [];
    this.name = `regard-text-${++texts}`;
    const what = sides.length > 1 ? "Text" : sides[0] === "query" ? "Queries" : "Keys";
    this.list = element("div", {
      class: "regard-text", role: "listbox", tabindex: 0, "aria-label": what, dir: this.axis.right_to_left ? "rtl" : "ltr",
    });
    this.list.dataset.unit = this.axis.unit;
    this.node = element("div", { class: "regard-text-box" }, element("h3", {}, what));
    if (this.axis.labels.length > SHOWN) this.addParts(signal);
    this.node.append(this.list);
    this.connect(signal);
    this.fill();
  }

  /** @param {AbortSignal} signal */
  addParts(signal) {
    const button = (/** @type {string} */ text, /** @type {number} */ step) => {
      const one = element("button", { type: "button" }, text);
      one.addEventListener("click", () => this.go(this.start + step * SHOWN), { signal });
      return one;
    };
    this.where = element("span", { class: "regard-quiet" });
    this.strip = addStrip(this.root, (at) => this.go(at - SHOWN / 2), signal);
    this.node.append(this.strip.node,
      element("div", { class: "regard-parts" }, button("Earlier", -1), this.where, button("Later", 1)));
  }

  /** @param {AbortSignal} signal */
  connect(signal) {
    const at = (/** @type {Event} */ event) => {
      const option = event.target instanceof Element ? event.target.closest("[role=option]") : null;
      return option instanceof HTMLElement ? Number(option.dataset.at) : -1;
    };
    connectPicking(this.list, this.store, this.sides, at, signal);
    this.list.addEventListener("focus", () => {
      if (!this.sides.includes(this.store.state.side)) this.store.set({ side: this.sides[0], selected: -1 });
    }, { signal });
  }

  /**
   * Show the part that begins at a position.
   * @param {number} start
   */
  go(start) {
    const last = Math.max(0, this.axis.labels.length - SHOWN);
    const next = Math.min(last, Math.max(0, Math.round(start)));
    if (next === this.start) return;
    this.start = next;
    this.fill();
    this.show();
  }

  /** Put the tokens of the part into the page. */
  fill() {
    const { labels, words } = this.axis;
    const end = Math.min(labels.length, this.start + SHOWN);
    const marked = labels.some((label) => /^[▁Ġ]/.test(label));
    /** @type {(Node | string)[]} */
    const nodes = [];
    this.options = [];
    for (let at = this.start; at < end; at++) {
      const label = labels[at];
      const apart = marked ? /^[▁Ġ]/.test(label) : words.length ? stands(this.axis, at, true) : true;
      if (apart && nodes.length) nodes.push(" ");
      const option = element("span", { role: "option", id: `${this.name}-${at}`, title: describe(this.axis, at) },
        visible(label.replace(/^##(?=.)/, "")));
      option.dataset.at = String(at);
      this.options.push(option);
      nodes.push(option);
      if (label.includes("\n")) nodes.push(element("br"));
    }
    this.list.replaceChildren(...nodes);
    if (this.where) this.where.textContent = `${this.start.toLocaleString("en")}–${(end - 1).toLocaleString("en")} of ${labels.length.toLocaleString("en")}`;
  }

  /** Move to what is selected, if it is not in the part that is shown. */
  reveal() {
    const { state } = this.store;
    if (this.axis.labels.length <= SHOWN || state.hover >= 0 || state.selected < 0) return;
    const values = this.current.shading(this.sides);
    let at = state.selected;
    if (!this.sides.includes(state.side)) {
      if (!values) return;
      at = values.reduce((most, value, index) => (Math.abs(value) > Math.abs(values[most]) ? index : most), 0);
    }
    if (at < this.start || at >= this.start + SHOWN) this.go(at - SHOWN / 2);
  }

  /** Shade and mark the tokens. */
  show() {
    const { state } = this.store;
    const { ground } = themeOf(this.root);
    const values = this.current.shading(this.sides);
    const colouring = this.current.colouring(values);
    const active = activeOf(state);
    const own = active && this.sides.includes(active.side) ? active.index : -1;
    const hits = new Set(this.sides.includes(this.hits().side) ? this.hits().positions : []);
    for (const option of this.options) {
      const at = Number(option.dataset.at);
      const colour = values ? shade(strength(values[at], colouring), ground) : null;
      option.style.backgroundColor = colour ? css(colour) : "";
      option.style.color = colour ? inkOn(colour) : "";
      option.classList.toggle("regard-own", at === own);
      option.classList.toggle("regard-pinned", this.sides.includes("query") && state.pins.includes(at));
      option.classList.toggle("regard-hit", hits.has(at));
      option.setAttribute("aria-selected", String(at === own && state.hover < 0));
    }
    const inPage = own >= this.start && own < this.start + SHOWN;
    if (inPage && state.hover < 0) this.list.setAttribute("aria-activedescendant", `${this.name}-${own}`);
    else this.list.removeAttribute("aria-activedescendant");
    if (inPage && state.hover < 0) this.keepInView(this.options[own - this.start]);
    this.strip?.draw(values, colouring, this.axis.labels.length, { from: this.start, to: this.start + SHOWN, mark: own });
  }

  /**
   * Scroll within the text, not the page.
   * @param {HTMLElement | undefined} option
   */
  keepInView(option) {
    if (!option) return;
    const { list } = this;
    const top = option.offsetTop - list.offsetTop;
    if (top < list.scrollTop || top + option.offsetHeight > list.scrollTop + list.clientHeight) {
      list.scrollTop = top - list.clientHeight / 2;
    }
  }
}

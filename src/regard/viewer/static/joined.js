// Two short sides, joined by curves: alignments, and other weights of at most 200 queries and keys.

import { drawing, element, oncePerFrame, themeOf } from "./dom.js";
import { fetchFor } from "./fetching.js";
import { visible } from "./numbers.js";
import { connectPicking } from "./picking.js";
import { activeOf } from "./state.js";
import { whyNone } from "./table.js";
import { labelOf, stands } from "./weights.js";

/** @typedef {import("./source.js").Axis} Axis */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./state.js").Side} Side */
/** @typedef {import("./weights.js").Weights} Weights */

/** The longest side, and curves a query. */
const [LONGEST_SIDE, CURVES] = [200, 4];
/** Weights that are less than this share of a query's largest get no curve. */
const SLIGHT = 0.1;
/** Pixels: a row, the text's size, space between texts, and between two lines. */
const [ROW, SIZE, BETWEEN, APART] = [22, 13, 9, 110];

/** @typedef {{at: number, label: string, x: number, y: number, anchor: "start" | "middle" | "end"}} Entry */

/**
 * Whether both sides are short enough.
 * @param {Store} store
 */
export function isShort(store) {
  const [, queries, keys] = store.layer.shape;
  return Math.max(queries, keys) <= LONGEST_SIDE;
}

/** The two sides and their curves, as SVG. */
export class Joined {
  /**
   * @param {Element} root
   * @param {Store} store
   * @param {Weights} weights
   * @param {AbortSignal} signal
   */
  constructor(root, store, weights, signal) {
    this.root = root;
    this.store = store;
    this.weights = weights;
    this.svg = drawing("svg", { class: "regard-joined", role: "img" });
    this.message = element("p", { class: "regard-quiet", hidden: true });
    // A text and itself are seen above; a pair is easier to compare by curves.
    const pair = store.layer.queries !== store.layer.keys;
    this.node = element("details", { class: "regard-text-box", open: pair }, element("summary", {}, element("h3", {}, "Joined by curves")),
      this.svg, this.message);
    /** @type {Float32Array | null} */
    this.matrix = null;
    this.loaded = "";
    this.redraw = oncePerFrame(() => this.show());
    this.node.addEventListener("toggle", this.redraw, { signal });
    const watch = new ResizeObserver(this.redraw);
    watch.observe(this.node);
    signal.addEventListener("abort", () => watch.disconnect());
    for (const side of /** @type {Side[]} */ (["query", "key"])) this.connect(side, signal);
  }

  /**
   * Each side's texts are in a group of their own, so that they select that side.
   * @param {Side} side
   * @param {AbortSignal} signal
   */
  connect(side, signal) {
    const group = drawing("g", {});
    group.dataset.side = side;
    this.svg.append(group);
    connectPicking(group, this.store, [side], ({ target }) => {
      const text = target instanceof Element ? target.closest("text") : null;
      return text ? Number(text.dataset.at) : -1;
    }, signal);
  }

  async load() {
    const { state, source } = this.store;
    const { layer, head, other, hide } = state;
    const key = JSON.stringify([layer, head, other, hide]);
    if (key === this.loaded) return;
    [this.loaded, this.matrix] = [key, null];
    const [, queries, keys] = this.store.layer.shape;
    const fetch = fetchFor(source, this.weights, { ...state, pooling: "mean" });
    const map = await fetch({ q0: 0, q1: queries, k0: 0, k1: keys }, queries, keys, new AbortController().signal);
    if (key !== this.loaded) return;
    const single = map.how === "exact" || map.how === "half";
    this.matrix = single ? map.values.map((value) => (Number.isNaN(value) ? 0 : value)) : null;
    this.message.hidden = single;
    this.message.textContent = whyNone(this.store.layer);
    this.redraw();
  }

  show() {
    if (!this.node.open || !this.node.isConnected) return;
    this.load().catch((error) => {
      this.message.hidden = false;
      this.message.textContent = String(error instanceof Error ? error.message : error);
    });
    if (this.matrix) this.draw(this.matrix);
  }

  /** @param {Float32Array} matrix */
  draw(matrix) {
    const { state } = this.store;
    const width = Math.max(200, this.node.clientWidth);
    const { queries, keys, height } = layout(this.store, width);
    const theme = themeOf(this.root);
    const active = activeOf(state);
    const curves = curvesOf(this.store, matrix, queries, keys);
    const level = height === 2 * ROW + APART;
    const paths = curves.map(({ from, to, share, value }) => {
      const near = !active || (active.side === "query" ? meets(this.store, "query", from.at, active.index) : meets(this.store, "key", to.at, active.index));
      return drawing("path", {
        d: level
          ? `M${from.x} ${from.y + 8}C${from.x} ${from.y + APART / 2} ${to.x} ${to.y - APART / 2} ${to.x} ${to.y - 9}`
          : `M${from.x + 6} ${from.y}C${(from.x + to.x) / 2} ${from.y} ${(from.x + to.x) / 2} ${to.y} ${to.x - 6} ${to.y}`,
        fill: "none", stroke: value < 0 ? theme.mark : theme.accent, "stroke-width": (0.75 + 2.25 * share).toFixed(2),
        opacity: (near ? 0.2 + 0.8 * share : 0.08).toFixed(2),
      });
    });
    const [own, across] = this.svg.querySelectorAll("g[data-side]");
    own.replaceChildren(...queries.map((entry) => this.text("query", entry, theme)));
    across.replaceChildren(...keys.map((entry) => this.text("key", entry, theme)));
    this.svg.querySelector("g:not([data-side])")?.remove();
    this.svg.prepend(drawing("g", {}, ...paths));
    for (const [name, value] of [["width", width], ["height", height], ["viewBox", `0 0 ${width} ${height}`]]) {
      this.svg.setAttribute(String(name), String(value));
    }
    this.svg.setAttribute("aria-label", `${queries.length} queries and ${keys.length} keys, joined by ${curves.length} curves`);
  }

  /**
   * @param {Side} side
   * @param {Entry} entry
   * @param {import("./dom.js").Theme} theme
   */
  text(side, { at, label, x, y, anchor }, theme) {
    const active = activeOf(this.store.state);
    const own = active?.side === side && meets(this.store, side, at, active.index);
    const node = drawing("text", {
      x, y, "text-anchor": anchor, "dominant-baseline": "central", "font-size": SIZE, "font-weight": own ? 700 : 400,
      fill: own ? theme.accent : theme.ink, "font-family": "system-ui, sans-serif",
    }, label);
    node.dataset.at = String(at);
    return node;
  }
}

/**
 * Whether an entry stands for a position.
 * @param {Store} store
 * @param {Side} side
 * @param {number} at
 * @param {number} index
 */
function meets(store, side, at, index) {
  const { words } = store.axis(side);
  return at === index || (store.state.words && words.length > 0 && words[at] === words[index]);
}

/**
 * Two lines where both sides fit into them, otherwise two columns.
 * @param {Store} store
 * @param {number} width
 */
function layout(store, width) {
  const { words } = store.state;
  const context = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
  context.font = `700 ${SIZE}px system-ui, sans-serif`;
  const sides = /** @type {Side[]} */ (["query", "key"]).map((side) => {
    const axis = store.axis(side);
    const entries = [...axis.labels.keys()].filter((at) => stands(axis, at, words)).map((at) => {
      const label = visible(labelOf(axis, at, words));
      return { at, label, width: context.measureText(label).width + BETWEEN };
    });
    return { entries, right: axis.right_to_left, total: entries.reduce((sum, entry) => sum + entry.width, 0) };
  });
  const level = Math.max(...sides.map((side) => side.total)) <= width;
  const placed = sides.map(({ entries, right, total }, number) => {
    let x = (width - total) / 2;
    return entries.map((entry, row) => {
      const before = x;
      x += entry.width;
      const middle = before + entry.width / 2;
      /** @type {Entry} */
      const line = { ...entry, x: right ? width - middle : middle, y: ROW / 2 + number * (ROW + APART), anchor: "middle" };
      /** @type {Entry} */
      const column = { ...entry, x: width * (number ? 0.66 : 0.34), y: ROW * (row + 0.5), anchor: number ? "start" : "end" };
      return level ? line : column;
    });
  });
  const rows = Math.max(...sides.map((side) => side.entries.length));
  return { queries: placed[0], keys: placed[1], height: level ? 2 * ROW + APART : rows * ROW };
}

/**
 * The largest weights of each query; by words, summed over a key's pieces and averaged over a query's.
 * @param {Store} store
 * @param {Float32Array} matrix
 * @param {Entry[]} queries
 * @param {Entry[]} keys
 */
function curvesOf(store, matrix, queries, keys) {
  const [, length, columns] = store.layer.shape;
  const next = (/** @type {Entry[]} */ entries, /** @type {number} */ at, /** @type {number} */ last) => entries[at + 1]?.at ?? last;
  const all = queries.flatMap((from, row) => {
    const end = next(queries, row, length);
    const values = keys.map((to, column) => {
      let sum = 0;
      for (let q = from.at; q < end; q++) for (let k = to.at; k < next(keys, column, columns); k++) sum += matrix[q * columns + k];
      return sum / (end - from.at);
    });
    const largest = Math.max(...values.map(Math.abs), 1e-12);
    const order = [...keys.keys()].sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, CURVES);
    return order.filter((at) => Math.abs(values[at]) >= SLIGHT * largest).map((at) => ({ from, to: keys[at], value: values[at] }));
  });
  const most = Math.max(...all.map(({ value }) => Math.abs(value)), 1e-12);
  return all.map((curve) => ({ ...curve, share: Math.abs(curve.value) / most }));
}

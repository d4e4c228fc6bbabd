// Small maps of all layers and heads; a click shows one.

import { fitted, paint } from "./colours.js";
import { element } from "./dom.js";

/** @typedef {import("./source.js").Layer} Layer */
/** @typedef {import("./state.js").Store} Store */

/** Cells of a thumbnail's side, and how many are asked for at a time. */
const [CELLS, AT_ONCE] = [48, 6];

/**
 * @param {Store} store
 * @param {AbortSignal} signal
 * @returns {HTMLElement}
 */
export function thumbnails(store, signal) {
  const { source } = store;
  /** @type {HTMLButtonElement[][]} */
  const rows = [];
  const body = element("div", { class: "regard-heads", role: "group", "aria-label": "Layers and heads" });
  const load = loader(store, signal);
  for (const [group, layers] of grouped(source.layers)) {
    const own = layers.length === 1 && source.layers[layers[0]].name === group;
    if (!own) body.append(element("h3", {}, group));
    for (const at of layers) {
      const layer = source.layers[at];
      const heads = layer.shape[0] > 1 ? [-1, ...Array(layer.shape[0]).keys()] : [0];
      const buttons = heads.map((head) => button(store, at, head, load));
      rows.push(buttons);
      const name = own ? layer.name : layer.name.replace(`${group}.`, "");
      body.append(element("div", { class: "regard-layer" },
        element("span", { class: "regard-layer-name", title: layer.name }, name), ...buttons));
    }
  }
  const show = () => {
    for (const one of rows.flat()) {
      const current = one.dataset.layer === String(store.state.layer) && one.dataset.head === String(store.state.head);
      one.setAttribute("aria-pressed", String(current));
      one.tabIndex = current ? 0 : -1;
    }
  };
  show();
  store.listen((state, changed) => {
    if (changed.has("layer") || changed.has("head")) show();
  });
  body.addEventListener("click", (event) => {
    const one = event.target instanceof Element ? event.target.closest("button") : null;
    if (one) store.set({ layer: Number(one.dataset.layer), head: Number(one.dataset.head) });
  }, { signal });
  body.addEventListener("keydown", (event) => moveFocus(rows, event), { signal });
  return body;
}

/**
 * @param {Layer[]} layers
 * @returns {Map<string, number[]>}
 */
function grouped(layers) {
  /** @type {Map<string, number[]>} */
  const groups = new Map();
  layers.forEach((layer, at) => groups.set(layer.group, [...(groups.get(layer.group) ?? []), at]));
  return groups;
}

/**
 * @param {Layer} layer
 * @param {number} head
 * @returns {string}
 */
function headName(layer, head) {
  return head < 0 ? `mean of ${layer.shape[0]} heads` : `head ${layer.heads[head] ?? head}`;
}

/**
 * A layer and a head of it, unless it has one only.
 * @param {Layer} layer
 * @param {number} head
 * @returns {string}
 */
export function fullName(layer, head) {
  return layer.shape[0] > 1 ? `${layer.name}, ${headName(layer, head)}` : layer.name;
}

/**
 * @param {Store} store
 * @param {number} at
 * @param {number} head
 * @param {(button: HTMLButtonElement) => void} load
 */
function button(store, at, head, load) {
  const layer = store.source.layers[at];
  const canvas = element("canvas", { "aria-hidden": "true", width: CELLS, height: CELLS });
  const name = element("span", {}, head < 0 ? "mean" : layer.shape[0] > 1 ? String(layer.heads[head] ?? head) : "");
  const one = element("button", {
    type: "button", class: "regard-thumbnail", "aria-label": fullName(layer, head),
  }, canvas, name);
  one.dataset.layer = String(at);
  one.dataset.head = String(head);
  load(one);
  return one;
}

/**
 * Thumbnails are asked for when they are scrolled into view.
 * @param {Store} store
 * @param {AbortSignal} signal
 * @returns {(button: HTMLButtonElement) => void}
 */
function loader(store, signal) {
  /** @type {HTMLButtonElement[]} */
  const queue = [];
  let running = 0;
  const next = () => {
    while (running < AT_ONCE && queue.length && !signal.aborted) {
      running++;
      const one = /** @type {HTMLButtonElement} */ (queue.shift());
      fill(store, one).catch(() => one.classList.add("regard-missing")).finally(() => {
        running--;
        next();
      });
    }
  };
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      queue.push(/** @type {HTMLButtonElement} */ (target));
    }
    next();
  });
  signal.addEventListener("abort", () => seen.disconnect());
  return (one) => seen.observe(one);
}

/**
 * @param {Store} store
 * @param {HTMLButtonElement} one
 */
async function fill(store, one) {
  const map = await store.source.thumbnail(Number(one.dataset.layer), Number(one.dataset.head), CELLS, "mean");
  if (!map) return one.classList.add("regard-missing");
  const canvas = /** @type {HTMLCanvasElement} */ (one.querySelector("canvas"));
  [canvas.width, canvas.height] = [map.columns, map.rows];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(map.columns, map.rows);
  paint(map.values, fitted({ scale: "sqrt", top: 1, low: 0, high: 1, signed: false }, map.values), image);
  context.putImageData(image, 0, 0);
}

/**
 * @param {HTMLButtonElement[][]} rows
 * @param {KeyboardEvent} event
 */
function moveFocus(rows, event) {
  const row = rows.findIndex((buttons) => buttons.some((one) => one === event.target));
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (row < 0 || !step) return;
  const column = rows[row].findIndex((one) => one === event.target);
  const line = rows[Math.min(rows.length - 1, Math.max(0, row + step[0]))];
  line[Math.min(line.length - 1, Math.max(0, column + step[1]))].focus();
  event.preventDefault();
  event.stopPropagation();
}

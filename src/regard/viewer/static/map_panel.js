// The panel of one head: its map, the choices, the colour bar, and what is under the pointer.

import { colourBar } from "./bar.js";
import { comparison, player, segments, toggle } from "./controls.js";
import { element } from "./dom.js";
import { exportButtons, mapDrawing } from "./export.js";
import { HeadMap } from "./map.js";
import { connectPointers } from "./map_input.js";
import { describe, formatShare, formatWeight, nameOfHow } from "./numbers.js";
import { addOverview } from "./overview.js";
import { fullName } from "./thumbnails.js";

/** @typedef {import("./search.js").Search} Search */
/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./weights.js").Weights} Weights */
/** @typedef {NonNullable<ReturnType<HeadMap["cell"]>>} Cell */

/** Changes of the state that the title and the hidden keys tell. */
const TITLED = /** @type {const} */ (["layer", "head", "other", "hide"]);

/**
 * @param {HTMLElement} root
 * @param {Store} store
 * @param {Weights} weights
 * @param {Search} search
 * @param {AbortSignal} signal
 */
export function addMapPanel(root, store, weights, search, signal) {
  const title = element("h2", {});
  const what = element("p", { class: "regard-quiet regard-what" });
  const removed = element("span", { class: "regard-quiet", role: "status" });
  const readout = element("p", { class: "regard-readout" });
  const map = new HeadMap(root, store, weights, () => search.hits(), () => drawn());
  const overview = addOverview(map, signal);
  const bar = colourBar(root, store, () => map.colouring(), signal);
  const { button, play } = player(store, signal);
  const tell = (/** @type {number} */ query, /** @type {number} */ key) => {
    readout.textContent = query < 0 ? "\u00a0" : readoutOf(store, map.cell(query, key), query, key);
  };
  tell(-1, -1);
  connectPointers(map, tell, signal);
  const drawn = () => {
    overview();
    bar.draw();
    const { q0, q1, k0, k1 } = map.place().region;
    const cell = map.cell(Math.floor((q0 + q1) / 2), Math.floor((k0 + k1) / 2));
    what.textContent = map.problem || (cell ? `Each cell: ${meaning(store, cell)}.` : "Loading …");
  };
  const show = () => {
    const { state, layer } = store;
    const name = fullName(layer, state.head);
    const other = state.other && store.source.layers[state.other[0]];
    title.textContent = other && state.other ? `${name} minus ${fullName(other, state.other[1])}` : name;
    map.canvas.setAttribute("aria-label", `Map of ${title.textContent}: ${layer.shape[1]} queries by ${layer.shape[2]} keys`);
    tellRemoved(store, weights, removed);
  };
  show();
  store.listen((state, changed) => {
    if (TITLED.some((name) => changed.has(name))) show();
  });
  const tools = element("div", { class: "regard-tools" },
    segments(store, "side", "Select", [["query", "queries"], ["key", "keys"]], signal),
    segments(store, "pooling", "Cells", [["mean", "mean"], ["max", "max"]], signal),
    segments(store, "scale", "Scale", [["linear", "linear"], ["sqrt", "√"], ["log", "log"]], signal),
    toggle(store, "hide", "Hide sinks", signal), comparison(store, signal), button,
    exportButtons(store, "map", () => mapDrawing(map, title.textContent, what.textContent), signal));
  const node = element("section", { class: "regard-panel", "aria-label": "Map of one head" },
    title, tools, map.node, readout, element("div", { class: "regard-below" }, bar.node, what), removed);
  return { map, node, play };
}

/**
 * @param {Store} store
 * @param {Cell} cell
 * @returns {string}
 */
function meaning(store, { how, queries, keys }) {
  const one = queries * keys === 1;
  const what = store.state.other ? "difference of weights" : "weight";
  if (how === "exact" || how === "half") return `one ${what}, ${nameOfHow(how)}`;
  const block = `${queries} × ${keys} weights`;
  const pooled = store.state.pooling === "mean" ? "mean" : "largest";
  const difference = store.state.other && !one ? "difference of the " : "";
  return `${difference}${pooled} of ${block}, ${nameOfHow(how)}`;
}

/**
 * @param {Store} store
 * @param {Cell | null} cell
 * @param {number} query
 * @param {number} key
 * @returns {string}
 */
function readoutOf(store, cell, query, key) {
  const names = `${describe(store.axis("query"), query)} → ${describe(store.axis("key"), key)}`;
  if (!cell) return names;
  const value = Number.isNaN(cell.value) ? "hidden" : formatWeight(cell.value);
  return `${names}: ${value} (${meaning(store, cell)})`;
}

/**
 * Say which keys are hidden, and what mass they had.
 * @param {Store} store
 * @param {Weights} weights
 * @param {HTMLElement} place
 */
async function tellRemoved(store, weights, place) {
  const { layer, head, hide } = store.state;
  place.hidden = !hide;
  if (!hide) return;
  const { keys, mass } = await weights.sinks(layer, head);
  const names = keys.map((key) => describe(store.source.axes[store.source.layers[layer].keys], key)).join(", ");
  place.textContent = `Hidden ${keys.length === 1 ? "key" : "keys"}: ${names}` +
    (mass === null ? "." : `; ${formatShare(mass)} of the mass.`);
}

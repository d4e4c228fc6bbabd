// The panel of texts, pictures, pinned queries and the table of what is selected.

import { AxisText } from "./axis_text.js";
import { toggle } from "./controls.js";
import { element } from "./dom.js";
import { csvBlob, exportButtons, fileName, panelDrawing, saveFile } from "./export.js";
import { isShort, Joined } from "./joined.js";
import { togglePin } from "./keys.js";
import { isPictured, Pictures } from "./pictures.js";
import { pinned } from "./pins.js";
import { WeightTable } from "./table.js";

/** @typedef {import("./current.js").Current} Current */
/** @typedef {import("./search.js").Search} Search */
/** @typedef {import("./state.js").Side} Side */
/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./weights.js").Weights} Weights */

/** Changes of the state after which the same weights look different. */
const SHADED = /** @type {const} */ (["scale", "low", "high", "find", "pins"]);

/**
 * @param {HTMLElement} root
 * @param {Store} store
 * @param {Weights} weights
 * @param {Current} current
 * @param {Search} search
 * @param {() => void} help
 * @param {AbortSignal} signal
 */
export function addTextPanel(root, store, weights, current, search, help, signal) {
  const place = element("div", { class: "regard-texts" });
  const table = new WeightTable(store, current, signal);
  const content = element("div", { class: "regard-texts" }, place, pinned(root, store, weights, current, signal), table.node);
  const words = toggle(store, "words", "By words", signal);
  const draw = () => panelDrawing(root, content);
  const tools = element("div", { class: "regard-tools" }, search.node, words, pinButton(store, signal),
    csvButton(store, current, signal), exportButtons(store, "text", draw, signal), helpButton(help, signal));
  /** @type {{node: HTMLElement, show(): void}[]} */
  let parts = [];
  let axes = "";
  // What belongs to the axes that are shown ends with them.
  let life = new AbortController();
  const build = () => {
    const { queries, keys } = store.layer;
    if (axes === `${queries}.${keys}`) return;
    axes = `${queries}.${keys}`;
    life.abort();
    life = new AbortController();
    /** @type {Side[][]} */
    const sides = queries === keys ? [["query", "key"]] : [["query"], ["key"]];
    parts = sides.map((some) => (isPictured(store.axis(some[0]))
      ? new Pictures(root, store, current, some, life.signal)
      : new AxisText(root, store, current, () => search.hits(), some, life.signal)));
    const pictured = sides.some((some) => isPictured(store.axis(some[0])));
    if (isShort(store) && !pictured) parts.push(new Joined(root, store, weights, life.signal));
    words.hidden = !store.axis("query").words.length && !store.axis("key").words.length;
    place.replaceChildren(...parts.map((part) => part.node));
  };
  const show = () => {
    build();
    for (const part of parts) {
      if (part instanceof AxisText) part.reveal();
      part.show();
    }
    table.show();
  };
  build();
  current.listen(show);
  store.listen((state, changed) => {
    if (SHADED.some((name) => changed.has(name))) show();
  });
  signal.addEventListener("abort", () => life.abort());
  return { node: element("section", { class: "regard-panel", "aria-label": "Text and weights" }, tools, content), show };
}

/**
 * @param {() => void} help
 * @param {AbortSignal} signal
 */
function helpButton(help, signal) {
  const button = element("button", { type: "button", "aria-label": "List of keys" }, "?");
  button.addEventListener("click", help, { signal });
  return button;
}

/**
 * @param {Store} store
 * @param {AbortSignal} signal
 */
function pinButton(store, signal) {
  const button = element("button", { type: "button" });
  const show = () => {
    const { side, selected, pins } = store.state;
    button.textContent = pins.includes(selected) && side === "query" ? "Unpin" : "Pin";
    button.disabled = side !== "query" || selected < 0;
  };
  button.addEventListener("click", () => togglePin(store), { signal });
  store.listen(show);
  show();
  return button;
}

/**
 * @param {Store} store
 * @param {Current} current
 * @param {AbortSignal} signal
 */
function csvButton(store, current, signal) {
  const button = element("button", { type: "button", "aria-label": "Save the selected weights as CSV" }, "CSV");
  const show = () => {
    button.disabled = !current.reading || current.reading.how === "none";
  };
  button.addEventListener("click", () => {
    const { reading } = current;
    if (reading) saveFile(csvBlob(store, reading), fileName(store, `${reading.side}${reading.index}`, "csv"));
  }, { signal });
  current.listen(show);
  show();
  return button;
}

// Pinned queries: their weights, one below the other, in the same colours.

import { element } from "./dom.js";
import { describe, formatWeight, visible } from "./numbers.js";
import { addStrip } from "./strip.js";
import { labelOf, stands } from "./weights.js";

/** @typedef {import("./current.js").Current} Current */
/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./weights.js").Weights} Weights */
/** @typedef {import("./weights.js").Reading} Reading */

/** Keys that are named in a row. */
const NAMED = 3;

/**
 * @param {Element} root
 * @param {Store} store
 * @param {Weights} weights
 * @param {Current} current
 * @param {AbortSignal} signal
 */
export function pinned(root, store, weights, current, signal) {
  const rows = element("div", { class: "regard-pins" });
  const node = element("div", { class: "regard-text-box", hidden: true }, element("h3", {}, "Pinned queries"), rows);
  let turn = 0;
  let shown = "";
  const show = async () => {
    const { state } = store;
    const { pins, layer, head, other, hide, words, scale, low, high } = state;
    node.hidden = !pins.length;
    const key = JSON.stringify([pins, layer, head, other, hide, words, scale, low, high]);
    if (key === shown) return;
    shown = key;
    const now = ++turn;
    /** @type {Reading[]} */
    const readings = await Promise.all(pins.map((pin) => weights.reading(state, "query", pin)));
    if (now !== turn) return;
    const lines = readings.map((reading) => row(root, store, reading, signal));
    rows.replaceChildren(...lines.map((line) => line.node));
    const top = current.colouring(Float32Array.from(readings.flatMap(({ values }) => current.colouring(values).top)));
    for (const line of lines) line.draw(top);
  };
  const update = () => void show().catch(() => rows.replaceChildren("The weights could not be had."));
  store.listen(update);
  update();
  return node;
}

/**
 * @param {Element} root
 * @param {Store} store
 * @param {Reading} reading
 * @param {AbortSignal} signal
 */
function row(root, store, { index, values }, signal) {
  const [queries, keys] = [store.axis("query"), store.axis("key")];
  const name = describe(queries, index);
  const label = element("button", { type: "button", class: "regard-link", dir: "auto" }, name);
  label.addEventListener("click", () => store.set({ side: "query", selected: index, hover: -1 }), { signal });
  const remove = element("button", { type: "button", "aria-label": `Unpin query ${name}` }, "×");
  remove.addEventListener("click", () => store.set({ pins: store.state.pins.filter((pin) => pin !== index) }), { signal });
  const { words } = store.state;
  const named = [...values.keys()].filter((at) => values[at] && stands(keys, at, words))
    .sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, NAMED)
    .map((at) => `${visible(labelOf(keys, at, words))} ${formatWeight(values[at])}`);
  const strip = addStrip(root, null, signal);
  const node = element("div", { class: "regard-pin" }, remove,
    element("div", {}, label, " ", element("span", { class: "regard-quiet", dir: "auto" }, named.join(", ")), strip.node));
  return {
    node,
    draw: (/** @type {import("./colours.js").Colouring} */ colouring) =>
      strip.draw(values, colouring, values.length, { from: 0, to: values.length, mark: -1 }),
  };
}

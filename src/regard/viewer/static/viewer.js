// The viewer: layers and heads, one head's map, and the text of what is selected, all of them linked.

import { Current } from "./current.js";
import { element } from "./dom.js";
import { helpDialog } from "./help.js";
import { connectKeys } from "./keys.js";
import { addMapPanel } from "./map_panel.js";
import { Search } from "./search.js";
import { readAddress, Store, writeAddress } from "./state.js";
import { addTextPanel } from "./text_panel.js";
import { thumbnails } from "./thumbnails.js";
import { Weights } from "./weights.js";

/** @typedef {import("./source.js").Source} Source */

/**
 * Show a source in an element.
 * @param {HTMLElement} el what was in it is removed
 * @param {Source} source
 * @param {{page?: boolean}} [options] page: the page is the viewer's alone, so the state is in its address and keys
 *   count wherever the focus is; true by default, false in a notebook
 * @returns {{destroy(): void}}
 */
export function render(el, source, { page = true } = {}) {
  const controller = new AbortController();
  const { signal } = controller;
  const root = element("div", { class: "regard" });
  el.replaceChildren(root);
  root.append(heading(source));
  if (!source.layers.length) return { destroy: () => root.remove() };

  const store = new Store(source, page ? readAddress(location.hash) : {});
  const weights = new Weights(source);
  const current = new Current(store, weights);
  const search = new Search(store, signal);
  const help = helpDialog(signal);
  const openHelp = () => help.showModal();
  const { map, node: mapPanel, play } = addMapPanel(root, store, weights, search, signal);
  if (source.layers.length > 1 || source.layers[0].shape[0] > 1) root.append(overviewPanel(store, signal));
  const texts = addTextPanel(root, store, weights, current, search, openHelp, signal);
  root.append(element("div", { class: "regard-columns" }, mapPanel, texts.node), help);
  connectKeys(root, store, map, { play, help: openHelp, search }, page, signal);
  if (page) followAddress(store, signal);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    map.redraw();
    texts.show();
  }, { signal });
  current.read();
  return {
    destroy() {
      controller.abort();
      map.destroy();
      root.remove();
    },
  };
}

/** @param {Source} source */
function heading({ title, notes }) {
  return element("header", { class: "regard-heading" },
    element("h1", {}, title), ...notes.map((note) => element("p", { class: "regard-quiet" }, note)));
}

/**
 * @param {Store} store
 * @param {AbortSignal} signal
 */
function overviewPanel(store, signal) {
  const count = store.source.layers.length;
  const name = `Layers and heads (${count} ${count === 1 ? "layer" : "layers"})`;
  return element("details", { class: "regard-panel", open: true }, element("summary", {}, element("h2", {}, name)), thumbnails(store, signal));
}

/**
 * The state is in the page's address, and changes with it.
 * @param {Store} store
 * @param {AbortSignal} signal
 */
function followAddress(store, signal) {
  let timer = 0;
  const write = () => {
    const address = `#${writeAddress(store.state)}`;
    try {
      if (address !== (location.hash || "#")) history.replaceState(null, "", address);
    } catch {
      // A frame of another page has no address of its own.
    }
  };
  store.listen(() => {
    window.clearTimeout(timer);
    timer = window.setTimeout(write, 200);
  });
  signal.addEventListener("abort", () => window.clearTimeout(timer));
  window.addEventListener("hashchange", () => store.set({ ...readAddress(location.hash), hover: -1 }), { signal });
}

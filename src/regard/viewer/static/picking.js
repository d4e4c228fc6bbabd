// Hovering previews a position, a click selects it or clears it, and Ctrl and a click pins it.

/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./state.js").Side} Side */

/**
 * @param {Store} store
 * @param {Side} side
 * @param {number} index
 * @param {MouseEvent} event
 */
export function pick(store, side, index, event) {
  const { state } = store;
  if ((event.ctrlKey || event.metaKey) && side === "query") return store.set({ pins: [...state.pins, index] });
  const again = state.side === side && state.selected === index;
  store.set({ side, selected: again ? -1 : index, hover: -1 });
}

/**
 * @param {Element} node
 * @param {Store} store
 * @param {Side[]} sides what its positions are; of both, that which is chosen is selected
 * @param {(event: MouseEvent) => number} at the position under the pointer; −1: none
 * @param {AbortSignal} signal
 */
export function connectPicking(node, store, sides, at, signal) {
  const side = () => (sides.includes(store.state.side) ? store.state.side : sides[0]);
  const listen = (/** @type {"pointermove" | "pointerleave" | "click"} */ type, /** @type {(event: MouseEvent) => void} */ listener) =>
    node.addEventListener(type, (event) => listener(/** @type {MouseEvent} */ (event)), { signal });
  listen("pointermove", (event) => {
    const touched = event instanceof PointerEvent && event.pointerType === "touch";
    if (!touched) store.set({ hover: at(event), hoverSide: side() });
  });
  listen("pointerleave", () => store.set({ hover: -1 }));
  listen("click", (event) => {
    const index = at(event);
    if (index >= 0) pick(store, side(), index, event);
  });
}

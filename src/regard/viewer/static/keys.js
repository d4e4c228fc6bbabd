// What keys do, wherever the focus is in the viewer.

/** @typedef {import("./map.js").HeadMap} HeadMap */
/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./search.js").Search} Search */

/** The keys and what they do, for the help and the tests. */
export const KEYS = /** @type {const} */ ([
  ["↓ ↑ ← →", "next or previous query or key"],
  ["PageDown PageUp", "ten positions on or back"],
  ["Home End", "first or last position"],
  ["[ ]", "previous or next head"],
  ["{ }", "previous or next layer"],
  ["x", "select keys instead of queries, and back"],
  ["p", "pin the selected query, or unpin it"],
  ["+ − 0", "zoom in, zoom out, whole map"],
  ["Shift ← → ↑ ↓", "move the map"],
  ["m", "mean or maximum"],
  ["l", "linear, square-root or logarithmic scale"],
  ["s", "hide keys that receive very much"],
  ["w", "words or pieces"],
  ["/", "search; Enter and Shift Enter: next and previous hit"],
  ["Space", "step through the positions, or stop"],
  ["Esc", "clear the selection, then the pins"],
  ["?", "this list"],
]);

/**
 * @param {HTMLElement} root
 * @param {Store} store
 * @param {HeadMap} map
 * @param {{play: () => void, help: () => void, search: Search}} parts
 * @param {boolean} page whether keys count wherever the focus is in the page
 * @param {AbortSignal} signal
 */
export function connectKeys(root, store, map, parts, page, signal) {
  /** @type {(event: KeyboardEvent) => void} */
  const press = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !applies(event, root, page)) return;
    if (!move(event, store, map) && !change(event, store, parts)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  (page ? document : root).addEventListener("keydown", (event) => press(/** @type {KeyboardEvent} */ (event)), { signal });
}

/**
 * Whether a key is meant for the viewer and not for the control that has the focus.
 * @param {KeyboardEvent} event
 * @param {HTMLElement} root
 * @param {boolean} page
 */
function applies({ key, target }, root, page) {
  if (!(target instanceof Element)) return false;
  if (!root.contains(target) && !(page && (target === document.body || target === document.documentElement))) return false;
  if (target.closest("dialog, select, input[type=search]")) return false;
  if (target.closest("input[type=radio]") && key.startsWith("Arrow")) return false;
  return !(target.closest("button, input, summary, [role=slider]") && (key === " " || key === "Enter"));
}

/**
 * @param {KeyboardEvent} event
 * @param {Store} store
 * @param {HeadMap} map
 * @returns {boolean} whether the key means something
 */
function move({ key, shiftKey }, store, map) {
  const { state } = store;
  const place = map.place();
  const { plot } = place;
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[key];
  if (shiftKey && key.startsWith("Arrow")) {
    const [dx, dy] = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key] ?? [0, 0];
    store.set({ region: place.moved((dx * plot.width) / 8, (dy * plot.height) / 8) });
  } else if (step) {
    const last = store.axis(state.side).labels.length - 1;
    const from = state.selected < 0 && step > 0 ? -1 : state.selected;
    store.set({ selected: Math.min(last, Math.max(0, from + step)), hover: -1 });
  } else if (key === "+" || key === "=" || key === "-" || key === "−") {
    const centre = { x: plot.x + plot.width / 2, y: plot.y + plot.height / 2 };
    if (state.selected >= 0 && state.side === "query") centre.y = Math.min(plot.y + plot.height, Math.max(plot.y, place.y(state.selected + 0.5)));
    if (state.selected >= 0 && state.side === "key") centre.x = Math.min(plot.x + plot.width, Math.max(plot.x, place.x(state.selected + 0.5)));
    store.set({ region: place.zoomed(centre.x, centre.y, key === "+" || key === "=" ? 1.5 : 1 / 1.5) });
  } else if (key === "0") store.set({ region: null });
  else if (key === "[" || key === "]") store.set({ head: state.head + (key === "]" ? 1 : -1) });
  else if (key === "{" || key === "}") store.set({ layer: state.layer + (key === "}" ? 1 : -1) });
  else return false;
  return true;
}

/**
 * @param {KeyboardEvent} event
 * @param {Store} store
 * @param {{play: () => void, help: () => void, search: Search}} parts
 * @returns {boolean} whether the key means something
 */
function change({ key }, store, { play, help, search }) {
  const { state } = store;
  if (key === "Escape") return clear(store);
  if (key === "x") store.set({ side: state.side === "query" ? "key" : "query", selected: -1, hover: -1 });
  else if (key === "m") store.set({ pooling: state.pooling === "mean" ? "max" : "mean" });
  else if (key === "l") store.set({ scale: state.scale === "linear" ? "sqrt" : state.scale === "sqrt" ? "log" : "linear" });
  else if (key === "s") store.set({ hide: !state.hide });
  else if (key === "w") store.set({ words: !state.words });
  else if (key === "p") togglePin(store);
  else if (key === "/") search.input.focus();
  else if (key === " ") play();
  else if (key === "?") help();
  else return false;
  return true;
}

/**
 * Pin the selected query, or take its pin away.
 * @param {Store} store
 */
export function togglePin(store) {
  const { side, selected, pins } = store.state;
  if (side !== "query" || selected < 0) return;
  store.set({ pins: pins.includes(selected) ? pins.filter((pin) => pin !== selected) : [...pins, selected] });
}

/**
 * @param {Store} store
 * @returns {boolean} whether there was anything to clear
 */
function clear(store) {
  const { selected, hover, pins } = store.state;
  if (hover >= 0 || selected >= 0) store.set({ hover: -1, selected: -1 });
  else if (pins.length) store.set({ pins: [] });
  else return false;
  return true;
}

// Pointers on the map: wheel and pinch zoom, dragging moves, hovering previews, a click selects.

import { element } from "./dom.js";
import { span } from "./overview.js";
import { pick } from "./picking.js";

/** @typedef {import("./map.js").HeadMap} HeadMap */
/** @typedef {import("./state.js").Side} Side */
/** @typedef {{x: number, y: number}} Point */

/** A pointer that moved less than this clicked. */
const STILL = 4;

/**
 * @param {HeadMap} map
 * @param {(query: number, key: number) => void} tell of the cell under the pointer; −1: none
 * @param {AbortSignal} signal
 */
export function connectPointers(map, tell, signal) {
  const { canvas, store } = map;
  const brush = element("div", { class: "regard-brush", hidden: true });
  map.node.append(brush);
  /** @type {Map<number, Point>} */
  const down = new Map();
  /** @type {{at: Point, moved: boolean, brush: boolean} | null} */
  let start = null;
  const at = (/** @type {MouseEvent} */ event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  /** @type {(type: "pointerdown" | "pointermove" | "pointerup" | "pointercancel" | "pointerleave", listener: (event: PointerEvent) => void) => void} */
  const on = (type, listener) => canvas.addEventListener(type, listener, { signal });

  canvas.addEventListener("wheel", (event) => {
    const { x, y } = at(event);
    const place = map.place();
    // The page scrolls where the map cannot become smaller.
    if (!place.has(x, y) || (event.deltaY > 0 && !store.state.region)) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    store.set({ region: place.zoomed(x, y, Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002))) });
  }, { signal, passive: false });

  on("pointerdown", (event) => {
    if (event.button) return;
    down.set(event.pointerId, at(event));
    canvas.setPointerCapture(event.pointerId);
    start = { at: at(event), moved: false, brush: event.shiftKey };
  });
  on("pointermove", (event) => {
    const point = at(event);
    const before = down.get(event.pointerId);
    if (!before || !start) return preview(map, point, tell);
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
    start.moved ||= Math.hypot(point.x - start.at.x, point.y - start.at.y) > STILL;
    if (other) pinch(map, before, point, other);
    else if (start.brush) drawBrush(brush, start.at, point);
    else if (start.moved) store.set({ region: map.place().moved(point.x - before.x, point.y - before.y), hover: -1 });
    down.set(event.pointerId, point);
  });
  on("pointerup", (event) => {
    const point = at(event);
    if (start && down.size === 1 && !start.moved) select(map, point, event);
    if (start?.brush && start.moved) {
      const place = map.place();
      const [a, b] = [start.at, point].map(({ x, y }) => ({ query: place.query(y), key: place.key(x) }));
      store.set({ region: span(a, b) });
    }
    release(event);
  });
  on("pointercancel", (event) => release(event));
  on("pointerleave", () => {
    store.set({ hover: -1 });
    tell(-1, -1);
  });
  canvas.addEventListener("dblclick", (event) => {
    const { x, y } = at(event);
    const place = map.place();
    if (place.has(x, y)) store.set({ region: place.zoomed(x, y, 4) });
  }, { signal });

  /** @param {PointerEvent} event */
  function release(event) {
    down.delete(event.pointerId);
    if (!down.size) start = null;
    brush.hidden = true;
  }
}

/**
 * What a point stands for: in the map, a query or a key as is chosen; beside it, that of the label.
 * @param {HeadMap} map
 * @param {Point} point
 * @returns {{side: Side, index: number} | null}
 */
function targetOf(map, { x, y }) {
  const place = map.place();
  const { plot } = place;
  const [, queries, keys] = map.store.layer.shape;
  const [query, key] = [Math.floor(place.query(y)), Math.floor(place.key(x))];
  const [across, along] = [x >= plot.x && x < plot.x + plot.width, y >= plot.y && y < plot.y + plot.height];
  const side = across && along ? map.store.state.side : across ? "key" : along ? "query" : null;
  const index = side === "query" ? query : key;
  return side && index >= 0 && index < (side === "query" ? queries : keys) ? { side, index } : null;
}

/**
 * @param {HeadMap} map
 * @param {Point} point
 * @param {(query: number, key: number) => void} tell
 */
function preview(map, point, tell) {
  const target = targetOf(map, point);
  map.store.set(target ? { hover: target.index, hoverSide: target.side } : { hover: -1 });
  const place = map.place();
  if (place.has(point.x, point.y)) tell(Math.floor(place.query(point.y)), Math.floor(place.key(point.x)));
  else tell(-1, -1);
}

/**
 * @param {HeadMap} map
 * @param {Point} point
 * @param {PointerEvent} event
 */
function select(map, point, event) {
  const target = targetOf(map, point);
  if (target) pick(map.store, target.side, target.index, event);
}

/**
 * @param {HeadMap} map
 * @param {Point} before
 * @param {Point} now
 * @param {Point} other the finger that stays
 */
function pinch(map, before, now, other) {
  const factor = Math.hypot(now.x - other.x, now.y - other.y) / Math.hypot(before.x - other.x, before.y - other.y);
  if (!Number.isFinite(factor) || factor <= 0) return;
  map.store.set({ region: map.place().zoomed((now.x + other.x) / 2, (now.y + other.y) / 2, factor) });
}

/**
 * @param {HTMLElement} brush
 * @param {Point} a
 * @param {Point} b
 */
function drawBrush(brush, a, b) {
  brush.hidden = false;
  brush.style.left = `${Math.min(a.x, b.x)}px`;
  brush.style.top = `${Math.min(a.y, b.y)}px`;
  brush.style.width = `${Math.abs(a.x - b.x)}px`;
  brush.style.height = `${Math.abs(a.y - b.y)}px`;
}

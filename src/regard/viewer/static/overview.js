// The whole map in a corner, with a frame around the part that is shown: drag it, or draw another one.

import { element, oncePerFrame, prepareCanvas, themeOf } from "./dom.js";

/** @typedef {import("./map.js").HeadMap} HeadMap */

/** Pixels of the longer side. */
const LONGEST = 96;

/**
 * @param {HeadMap} map
 * @param {AbortSignal} signal
 * @returns {() => void} draws it
 */
export function addOverview(map, signal) {
  const canvas = element("canvas", { class: "regard-overview", hidden: true });
  canvas.setAttribute("aria-hidden", "true");
  map.node.append(canvas);
  const { store } = map;
  /** @returns {[number, number]} */
  const size = () => {
    const { plot } = map.place();
    const factor = LONGEST / Math.max(plot.width, plot.height);
    return [plot.width * factor, plot.height * factor];
  };
  /** @type {(event: PointerEvent) => {query: number, key: number}} */
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const [, queries, keys] = store.layer.shape;
    return {
      query: ((event.clientY - box.top) / box.height) * queries, key: ((event.clientX - box.left) / box.width) * keys,
    };
  };
  /** @type {{query: number, key: number, inside: boolean} | null} */
  let start = null;
  canvas.addEventListener("pointerdown", (event) => {
    const { q0, q1, k0, k1 } = map.place().region;
    const { query, key } = at(event);
    start = { query, key, inside: query >= q0 && query <= q1 && key >= k0 && key <= k1 };
    canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
  }, { signal });
  canvas.addEventListener("pointermove", (event) => {
    if (!start) return;
    const { query, key } = at(event);
    const { q0, q1, k0, k1 } = map.place().region;
    if (start.inside) {
      const [down, right] = [query - start.query, key - start.key];
      store.set({ region: { q0: q0 + down, q1: q1 + down, k0: k0 + right, k1: k1 + right } });
      start = { ...start, query, key };
    } else store.set({ region: span(start, { query, key }) });
  }, { signal });
  const end = () => {
    start = null;
  };
  canvas.addEventListener("pointerup", end, { signal });
  canvas.addEventListener("pointercancel", end, { signal });
  return oncePerFrame(() => {
    canvas.hidden = !store.state.region;
    if (canvas.hidden) return;
    const [width, height] = size();
    const { plot, region: { q0, q1, k0, k1 } } = map.place();
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.style.left = `${plot.x + plot.width - width - 6}px`;
    canvas.style.top = `${plot.y + 6}px`;
    const context = prepareCanvas(canvas, width, height);
    const [queries, keys] = map.tiles.top;
    const [, rows, columns] = store.layer.shape;
    const theme = themeOf(map.root);
    context.fillStyle = theme.ground;
    context.fillRect(0, 0, width, height);
    for (const tile of map.tiles.cover([queries, keys], { q0: 0, q1: rows, k0: 0, k1: columns })) {
      const picture = map.tiles.picture(tile, map.colouring(tile.level), true);
      if (picture) context.drawImage(picture, 0, 0, width, height);
    }
    context.strokeStyle = "#ffffff";
    context.lineWidth = 3;
    const [x, y] = [(k0 / columns) * width, (q0 / rows) * height];
    const [w, h] = [Math.max(3, ((k1 - k0) / columns) * width), Math.max(3, ((q1 - q0) / rows) * height)];
    context.strokeRect(x, y, w, h);
    context.strokeStyle = theme.mark;
    context.lineWidth = 1.5;
    context.strokeRect(x, y, w, h);
  });
}

/**
 * The region between two points.
 * @param {{query: number, key: number}} a
 * @param {{query: number, key: number}} b
 */
export function span(a, b) {
  const [q0, q1] = [Math.min(a.query, b.query), Math.max(a.query, b.query)];
  const [k0, k1] = [Math.min(a.key, b.key), Math.max(a.key, b.key)];
  return { q0, q1: Math.max(q1, q0 + 4), k0, k1: Math.max(k1, k0 + 4) };
}

// A page with the viewer of a synthetic source, chosen by the address: ?kind=text&length=40

import { render } from "/static/viewer.js";
import { arabic, axisOf, patches, synthetic, text } from "./synthetic.js";

const asked = new URLSearchParams(location.search);
const length = Number(asked.get("length") ?? 40);
const heads = Number(asked.get("heads") ?? 4);
const layers = Number(asked.get("layers") ?? 3);
const weights = /** @type {"exact" | "half" | "none"} */ (asked.get("weights") ?? "exact");
const options = { weights, wait: Number(asked.get("wait") ?? 0) };

/** A picture of a gradient with a disc. */
function picture() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [160, 160];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const gradient = context.createLinearGradient(0, 0, 160, 160);
  gradient.addColorStop(0, "#7aa6d8");
  gradient.addColorStop(1, "#2f5d34");
  context.fillStyle = gradient;
  context.fillRect(0, 0, 160, 160);
  context.fillStyle = "#e8d44d";
  context.beginPath();
  context.arc(110, 50, 28, 0, 7);
  context.fill();
  return canvas.toDataURL("image/png");
}

const sources = {
  text: () => synthetic(layers, heads, ...twice(text(length)), options),
  formula: () => synthetic(1, 1, ...twice(axisOf({ labels: Array(length).fill('=SUM("A1")') })), options),
  pair: () => synthetic(1, 1, text(length), arabic(Math.ceil(length * 1.2)), { ...options, title: "An alignment" }),
  picture: () => synthetic(layers, heads, ...twice(patches(8, picture())), { ...options, causal: false, title: "A picture" }),
};

/**
 * @template T
 * @param {T} one
 * @returns {[T, T]}
 */
function twice(one) {
  return [one, one];
}

/** @typedef {import("../../src/regard/viewer/static/source.js").Map2D} Map2D */

/**
 * Have the tiles computed by a worker. Those that are cancelled before their turn are not computed.
 * @param {ReturnType<typeof synthetic>} source
 */
function useWorker(source) {
  const worker = new Worker("/web/worker.js", { type: "module" });
  /** @type {{id: number, rest: unknown[], signal?: AbortSignal, resolve: (map: Map2D) => void}[]} */
  const waiting = [];
  let [count, busy] = [0, false];
  const next = () => {
    while (waiting.length && waiting[0].signal?.aborted) waiting.shift();
    busy = waiting.length > 0;
    if (busy) worker.postMessage({ id: waiting[0].id, length, heads, layers, rest: waiting[0].rest });
  };
  worker.addEventListener("message", ({ data }) => {
    waiting.shift()?.resolve(data.map);
    next();
  });
  const { asked } = source;
  source.tile = (layer, head, window, rows, columns, pooling, signal) => new Promise((resolve, reject) => {
    asked.most = Math.max(asked.most, ++asked.running);
    const end = () => asked.running--;
    signal?.addEventListener("abort", () => {
      end();
      reject(signal.reason);
    });
    waiting.push({ id: count++, rest: [layer, head, window, rows, columns, pooling], signal, resolve: (map) => {
      if (!signal?.aborted) end();
      resolve(map);
    } });
    if (!busy) next();
  });
}

const source = sources[/** @type {keyof typeof sources} */ (asked.get("kind") ?? "text")]();
if (asked.has("worker")) useWorker(source);
const viewer = render(/** @type {HTMLElement} */ (document.getElementById("viewer")), source, { page: true });
Object.assign(window, { source, viewer });

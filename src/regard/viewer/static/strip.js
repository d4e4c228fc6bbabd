// Weights along a whole axis as one line of colours.

import { colourOf, css } from "./colours.js";
import { element, prepareCanvas, themeOf } from "./dom.js";

/** @typedef {import("./colours.js").Colouring} Colouring */

const HEIGHT = 16;

/**
 * @param {Element} root
 * @param {((at: number) => void) | null} go called with the position that is clicked
 * @param {AbortSignal} signal
 */
export function addStrip(root, go, signal) {
  const node = element("canvas", { class: "regard-strip", "aria-hidden": "true" });
  let length = 1;
  const at = (/** @type {PointerEvent} */ event) => {
    const box = node.getBoundingClientRect();
    return Math.floor(((event.clientX - box.left) / box.width) * length);
  };
  if (go) {
    node.addEventListener("pointerdown", (event) => {
      node.setPointerCapture(event.pointerId);
      go(at(event));
    }, { signal });
    node.addEventListener("pointermove", (event) => {
      if (event.buttons) go(at(event));
    }, { signal });
  }
  /**
   * Each pixel shows the largest of its weights.
   * @param {Float32Array | null} values
   * @param {Colouring} colouring
   * @param {number} count of positions
   * @param {{from: number, to: number, mark: number}} part a frame, and a position
   */
  const draw = (values, colouring, count, { from, to, mark }) => {
    length = count;
    const width = node.clientWidth;
    if (!width) return;
    const theme = themeOf(root);
    const context = prepareCanvas(node, width, HEIGHT);
    for (let pixel = 0; values && pixel < width; pixel++) {
      const start = Math.floor((pixel / width) * count);
      let most = values[start];
      const end = Math.max(start + 1, Math.floor(((pixel + 1) / width) * count));
      for (let one = start; one < end; one++) if (Math.abs(values[one]) > Math.abs(most)) most = values[one];
      context.fillStyle = css(colourOf(most, colouring));
      context.fillRect(pixel, 0, 1, HEIGHT);
    }
    context.lineWidth = 2;
    context.strokeStyle = theme.mark;
    const scale = width / count;
    if (to - from < count) context.strokeRect(from * scale, 1, Math.max(3, (to - from) * scale), HEIGHT - 2);
    context.fillStyle = theme.accent;
    if (mark >= 0) context.fillRect(mark * scale - 1, 0, 3, HEIGHT);
  };
  return { node, draw };
}

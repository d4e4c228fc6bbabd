// Computes the tiles of a synthetic text in a thread of its own.

import { synthetic, text } from "./synthetic.js";

/** @type {import("../../src/regard/viewer/static/source.js").Source | null} */
let source = null;

addEventListener("message", async ({ data: { id, length, heads, layers, rest } }) => {
  if (!source) {
    const axis = text(length);
    source = synthetic(layers, heads, axis, axis);
  }
  const map = await source.tile(.../** @type {Parameters<typeof source.tile>} */ (rest));
  postMessage({ id, map }, { transfer: [map.values.buffer] });
});

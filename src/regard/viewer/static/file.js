// The source of a document's bytes: nothing is asked for; weights are computed here. See viewer/document.py.

import { fileLayer } from "./file_layer.js";
import { readTensors } from "./tensors.js";

/** @typedef {import("./source.js").Source} Source */
/** @typedef {import("./tensors.js").Numbers} Numbers */

/** Bytes of decoded queries, keys and rows that are kept. */
const KEPT_BYTES = 1 << 28;

/**
 * The source of a document.
 * @param {ArrayBuffer | Uint8Array} bytes as Document.to_bytes writes them
 * @returns {Source}
 */
export function openDocument(bytes) {
  const { metadata, tensors } = readTensors(bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes));
  const content = JSON.parse(metadata.regard ?? "{}");
  if (content.format !== "regard.viewer" || content.version !== 1) {
    throw new Error(`not a document of this viewer, but version ${content.version} of ${content.format}`);
  }
  const kept = keptNumbers();
  /** @type {import("./file_layer.js").DescribedLayer[]} */
  const described = content.layers;
  const layers = described.map((layer, at) => fileLayer(layer, `${at}.`, tensors, kept));
  return {
    title: content.title,
    notes: content.notes,
    axes: content.axes,
    layers: layers.map((layer) => layer.meta),
    statistic: async (layer, head, name) => layers[layer].statistic(head, name),
    thumbnail: (layer, head, size, pooling) => layers[layer].thumbnail(head, size, pooling),
    tile: (layer, head, window, rows, columns, pooling, signal) =>
      layers[layer].tile(head, window, rows, columns, pooling, signal),
    row: async (layer, head, query) => layers[layer].line(head, { ...layers[layer].whole, q0: query, q1: query + 1 }),
    column: async (layer, head, key) => layers[layer].line(head, { ...layers[layer].whole, k0: key, k1: key + 1 }),
  };
}

/**
 * Decodes numbers and keeps those that were used last.
 * @returns {(key: string, decode: () => Numbers) => Numbers}
 */
function keptNumbers() {
  /** @type {Map<string, Numbers>} */
  const kept = new Map();
  let size = 0;
  return (key, decode) => {
    const values = kept.get(key) ?? decode();
    if (!kept.delete(key)) size += values.byteLength;
    kept.set(key, values);
    for (const [oldest, numbers] of kept) {
      if (size <= KEPT_BYTES || oldest === key) break;
      kept.delete(oldest);
      size -= numbers.byteLength;
    }
    return values;
  };
}

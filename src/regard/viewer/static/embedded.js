// The page of one file: its document is inside of it, compressed, as base64. The same script runs in the page's worker.

import { openDocument } from "./file.js";
import { answerPage, openInWorker } from "./threaded.js";
import { render } from "./viewer.js";

/**
 * The bytes of base64.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
function bytesOf(text) {
  if ("fromBase64" in Uint8Array) {
    return /** @type {{fromBase64(text: string): Uint8Array<ArrayBuffer>}} */ (Uint8Array).fromBase64(text);
  }
  const bytes = new Uint8Array((text.length / 4) * 3 - (text.match(/=*$/)?.[0].length ?? 0));
  const step = 1 << 16; // a multiple of four characters
  for (let from = 0, at = 0; from < text.length; from += step) {
    const part = atob(text.slice(from, from + step));
    for (let index = 0; index < part.length; index++) bytes[at++] = part.charCodeAt(index);
  }
  return bytes;
}

/**
 * Show the document of this page.
 * @param {string} script this one
 */
async function showEmbedded(script) {
  const place = /** @type {HTMLElement} */ (document.getElementById("viewer"));
  const data = /** @type {HTMLElement} */ (document.getElementById("document"));
  try {
    const packed = new Blob([bytesOf((data.textContent ?? "").trim())]);
    data.remove();
    const unpack = () => new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
    // Where there can be no worker, the page computes between its frames.
    const source = await openInWorker(await unpack(), script).catch(async () => openDocument(await unpack()));
    render(place, source);
  } catch (error) {
    place.textContent = `This file cannot be shown: ${error instanceof Error ? error.message : error}`;
  }
}

if (typeof document === "undefined") answerPage();
else showEmbedded(document.currentScript?.textContent ?? "");

// A document in a worker: weights are computed there, while the page stays free to move. The worker runs the page's own
// script.

import { openDocument } from "./file.js";

/** @typedef {import("./source.js").Source} Source */
/** @typedef {"statistic" | "thumbnail" | "tile" | "row" | "column"} Question */

/**
 * What the page sends: first the document, then questions, and the numbers of those whose answer is not needed any more.
 * @typedef {{bytes: ArrayBuffer} | {stop: number} | {number: number, what: Question, parameters: unknown[]}} Sent
 */

/**
 * What the worker sends: first what the document has, then answers.
 * @typedef {object} Received
 * @property {Pick<Source, "title" | "notes" | "axes" | "layers">} [content]
 * @property {number} [number]
 * @property {unknown} [answer]
 * @property {string} [error]
 */

/**
 * The source of a document, computed in a worker.
 * @param {ArrayBuffer} bytes which the page does not have any more
 * @param {string} script that calls `answerPage` in a worker
 * @returns {Promise<Source>} rejected if there can be no worker, or the document is damaged
 */
export function openInWorker(bytes, script) {
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const worker = new Worker(address);
  /** @type {Map<number, {resolve(answer: unknown): void, reject(error: unknown): void}>} */
  const waiting = new Map();
  let count = 0;
  /** @type {(what: Question, parameters: unknown[], signal?: AbortSignal) => Promise<any>} */
  const ask = (what, parameters, signal) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const number = count++;
      waiting.set(number, { resolve, reject });
      worker.postMessage({ number, what, parameters });
      signal?.addEventListener("abort", () => {
        if (!waiting.delete(number)) return;
        worker.postMessage({ stop: number });
        reject(signal.reason);
      });
    });
  return new Promise((resolve, reject) => {
    worker.addEventListener("message", ({ data }) => {
      const { content, number, answer, error } = /** @type {Received} */ (data);
      if (content) resolve(sourceOf(content, ask));
      else if (number === undefined) reject(new Error(error));
      else {
        const asked = waiting.get(number);
        waiting.delete(number);
        if (error === undefined) asked?.resolve(answer);
        else asked?.reject(new Error(error));
      }
    });
    worker.addEventListener("error", (event) => reject(new Error(event.message || "there can be no worker")));
    worker.postMessage({ bytes }, [bytes]);
  }).finally(() => URL.revokeObjectURL(address));
}

/**
 * @param {Pick<Source, "title" | "notes" | "axes" | "layers">} content
 * @param {(what: Question, parameters: unknown[], signal?: AbortSignal) => Promise<any>} ask
 * @returns {Source}
 */
function sourceOf(content, ask) {
  return {
    ...content,
    statistic: (...parameters) => ask("statistic", parameters),
    thumbnail: (...parameters) => ask("thumbnail", parameters),
    tile: (layer, head, window, rows, columns, pooling, signal) =>
      ask("tile", [layer, head, window, rows, columns, pooling], signal),
    row: (...parameters) => ask("row", parameters),
    column: (...parameters) => ask("column", parameters),
  };
}

/** In a worker: answer what the page asks. Tiles are computed one after another, so that the first is there soon. */
export function answerPage() {
  /** @type {Source | null} */
  let source = null;
  /** @type {Map<number, AbortController>} */
  const running = new Map();
  let tiles = Promise.resolve();

  /** @param {Exclude<Sent, {bytes: ArrayBuffer} | {stop: number}>} question */
  async function answer({ number, what, parameters }) {
    const controller = running.get(number);
    try {
      controller?.signal.throwIfAborted();
      const method = /** @type {(...parameters: unknown[]) => Promise<unknown>} */ (source?.[what]);
      postMessage({ number, answer: await method(...parameters, controller?.signal) });
    } catch (error) {
      postMessage({ number, error: messageOf(error) });
    }
    running.delete(number);
  }

  addEventListener("message", ({ data }) => {
    const sent = /** @type {Sent} */ (data);
    if ("bytes" in sent) {
      try {
        source = openDocument(sent.bytes);
        const { title, notes, axes, layers } = source;
        postMessage({ content: { title, notes, axes, layers } });
      } catch (error) {
        postMessage({ error: messageOf(error) });
      }
    } else if ("stop" in sent) running.get(sent.stop)?.abort();
    else if (sent.what === "tile" || sent.what === "thumbnail") {
      if (sent.what === "tile") running.set(sent.number, new AbortController());
      tiles = tiles.then(() => answer(sent));
    } else answer(sent);
  });
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

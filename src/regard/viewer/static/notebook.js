// The widget of a notebook: what is asked for goes as messages to viewer/notebook.py, and comes back as bytes.

import { askedSource, floatsOf } from "./remote.js";
import { render } from "./viewer.js";

/** @typedef {import("./remote.js").Answer} Answer */
/** @typedef {import("./remote.js").Meta} Meta */

/**
 * What a notebook gives.
 * @typedef {object} Model
 * @property {(name: string) => unknown} get
 * @property {(content: unknown) => void} send
 * @property {(event: string, listener: (content: Reply, buffers: DataView[]) => void) => void} on
 * @property {(event: string, listener: (content: Reply, buffers: DataView[]) => void) => void} off
 */

/**
 * The answer to the question of the same number; error: why there is none.
 * @typedef {object} Reply
 * @property {number} number
 * @property {string} [error]
 * @property {string} how
 * @property {number} rows
 * @property {number} columns
 */

/**
 * Show the widget; what it returns ends it.
 * @param {{model: Model, el: HTMLElement}} given
 * @returns {() => void}
 */
function renderWidget({ model, el }) {
  /** @type {Map<number, {resolve(answer: Answer): void, reject(error: unknown): void}>} */
  const waiting = new Map();
  let count = 0;
  /**
   * @param {Reply} reply
   * @param {DataView[]} buffers
   */
  function receive({ number, error, how, rows, columns }, buffers) {
    const asked = waiting.get(number);
    waiting.delete(number);
    if (error) asked?.reject(new Error(error));
    else asked?.resolve({ how, rows, columns, values: floatsOf(buffers[0]) });
  }
  model.on("msg:custom", receive);
  const meta = /** @type {Meta} */ (JSON.parse(String(model.get("meta"))));
  const source = askedSource(meta, (what, parameters, signal) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const number = count++;
      waiting.set(number, { resolve, reject });
      signal?.addEventListener("abort", () => {
        waiting.delete(number);
        reject(signal.reason);
      });
      model.send({ number, what, parameters });
    }));
  const shown = render(el, source, { page: false });
  return () => {
    model.off("msg:custom", receive);
    shown.destroy();
  };
}

export default { render: renderWidget };

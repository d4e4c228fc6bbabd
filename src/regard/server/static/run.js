// The page of a run: type or drop an input, see the result and what the model attended to.

import { element } from "/static/dom.js";
import { openDocument } from "/static/file.js";
import { render } from "/static/viewer.js";
import { run, send } from "./api.js";
import { fieldOf, fileField } from "./form.js";
import { fill, messageOf } from "./page.js";
import { shown } from "./result.js";

/** @typedef {import("./api.js").Operation} Operation */
/** @typedef {import("./api.js").Values} Values */

/**
 * The operations of one kind of input.
 * @typedef {object} Kind
 * @property {string} file
 * @property {Operation[]} operations
 */

/**
 * The form of one kind of input, with the places of its results.
 * @param {Kind} kind
 * @returns {HTMLElement}
 */
function section(kind) {
  const [first] = kind.operations;
  const file = kind.file ? fileField(first.media, kind.file) : null;
  const asked = [...kind.operations].reverse().flatMap((one) => one.asked);
  const every = new Map(asked.map((one) => [one.name, one]));
  const isNeeded = (/** @type {Operation} */ { asked }, /** @type {string} */ name) =>
    asked.some((one) => one.needed && one.name === name);
  const fields = new Map([...every].map(([name, asked]) =>
    [name, fieldOf(asked, kind.operations.every((one) => isNeeded(one, name)))]));
  const inputs = [...every.values()].filter((one) => one.needed || one.long);
  const others = [...every.values()].filter((one) => !inputs.includes(one));
  const shownOf = (/** @type {{name: string}[]} */ asked) => asked.map((one) => fields.get(one.name)?.shown ?? "");
  const button = element("button", {}, "Run");
  const status = element("p", { role: "status" });
  const result = element("section", { "aria-label": "Result", "aria-live": "polite" });
  const options = others.length ? [element("details", {}, element("summary", {}, "Options"), ...shownOf(others))] : [];
  const form = element("form", {}, ...(file ? [file.shown] : []), ...shownOf(inputs), ...options, button, status);
  let running = new AbortController();
  /** @type {{destroy(): void} | null} */
  let viewer = null;

  /**
   * The values of a request; null: there are not all that it needs.
   * @param {Operation} operation
   */
  const valuesOf = (operation) => {
    /** @type {Values} */
    const chosen = {};
    for (const { name, needed } of operation.asked) {
      const value = fields.get(name)?.value();
      if (value !== undefined) chosen[name] = value;
      else if (needed) return null;
    }
    return chosen;
  };
  const submit = async () => {
    running.abort();
    running = new AbortController();
    const { signal } = running;
    status.textContent = "Computing …";
    viewer?.destroy();
    viewer = null;
    result.replaceChildren();
    const dropped = file?.file() ?? null;
    try {
      for (const operation of kind.operations) {
        const values = valuesOf(operation);
        if (values === null) continue;
        if (operation.command === "predict") {
          const response = await send(operation, values, dropped, undefined, signal);
          result.append(element("h2", {}, "Result"), shown(await response.json()));
        } else {
          const response = await send(operation, values, dropped, "document", signal);
          const place = element("div");
          result.append(element("h2", {}, "What the model attended to"), place);
          viewer = render(place, openDocument(await response.arrayBuffer()), { page: false });
          result.append(saveButton(() => send(operation, values, dropped, "html")));
        }
      }
      status.textContent = "";
    } catch (error) {
      if (signal.aborted) return;
      status.textContent = "";
      result.append(element("p", { role: "alert" }, messageOf(error)));
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void submit();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  return element("section", {}, form, result);
}

/**
 * @param {() => Promise<Response>} load
 * @returns {HTMLElement} a button that saves an interactive page
 */
function saveButton(load) {
  const button = element("button", { type: "button" }, "Save as an interactive page");
  button.addEventListener("click", async () => {
    try {
      const address = URL.createObjectURL(await (await load()).blob());
      const link = element("a", { href: address, download: "attention.html" });
      link.click();
      URL.revokeObjectURL(address);
    } catch (error) {
      button.after(element("p", { role: "alert" }, messageOf(error)));
    }
  });
  return button;
}

await fill(async () => {
  const served = await run(decodeURIComponent(location.pathname.split("/")[2]));
  document.title = `${served.name} – regard`;
  /** @type {HTMLElement} */ (document.getElementById("title")).textContent = served.name;
  /** @type {HTMLElement} */ (document.getElementById("summary")).textContent = `Task: ${served.task}`;
  const files = [...new Set(served.operations.map((one) => one.file))];
  const kinds = files.map((file) => ({ file, operations: served.operations.filter((one) => one.file === file) }));
  if (kinds.length === 1) return [section(kinds[0])];
  return kinds.flatMap((kind) => [
    element("h2", {}, kind.file ? `With a file: ${kind.file}` : `With a ${served.unit}`), section(kind)]);
});

// The form of a run, made from what its requests have.

import { element } from "/static/dom.js";

/** @typedef {import("./api.js").Asked} Asked */
/** @typedef {import("./api.js").Operation} Operation */
/** @typedef {import("./api.js").Values} Values */

/**
 * A field of the form: its elements, and the value that a request has, undefined for the default.
 * @typedef {object} Field
 * @property {HTMLElement} shown
 * @property {() => Values[string] | undefined} value
 */

let made = 0;

/**
 * A name for an element, which no other element of the page has.
 * @param {string} name
 */
const unique = (name) => `${name}-${++made}`;

/**
 * @param {Asked} asked
 * @param {boolean} required whether the form cannot be sent without it
 * @returns {Field}
 */
export function fieldOf(asked, required) {
  const id = unique(asked.name);
  const label = element("label", { for: id }, asked.name.replaceAll("_", " "));
  const help = element("p", { id: `${id}-help`, class: "help" }, asked.help);
  const named = { id, "aria-describedby": help.id };
  if (asked.kind === "yes") {
    const box = element("input", { type: "checkbox", ...named });
    box.checked = asked.default === true;
    return { shown: element("div", { class: "field" }, label, box, help), value: () => box.checked };
  }
  if (asked.choices.length) {
    const none = asked.optional ? [element("option", { value: "" }, "—")] : [];
    const select = element("select", named, ...none, ...asked.choices.map((one) => element("option", {}, one)));
    select.value = String(asked.default ?? "");
    return { shown: element("div", { class: "field" }, label, select, help), value: () => select.value || undefined };
  }
  const number = asked.kind === "whole" || asked.kind === "number";
  const large = asked.long || asked.kind === "list";
  const input = large ? element("textarea", { ...named, rows: asked.needed ? "4" : "2", required })
    : element("input", { ...named, type: number ? "number" : "text", step: asked.kind === "whole" ? "1" : "any" });
  if (asked.most !== null) input.setAttribute("max", String(asked.most));
  if (asked.default !== null && !Array.isArray(asked.default)) input.value = String(asked.default);
  return {
    shown: element("div", { class: "field" }, label, input, help),
    value: () => {
      if (input.value === "") return undefined;
      if (asked.kind === "list") return input.value.split("\n").filter((line) => line);
      return number ? Number(input.value) : input.value;
    },
  };
}

/**
 * A field for a file, which can be dropped on it.
 * @param {string} media
 * @param {string} name
 * @returns {{shown: HTMLElement, file: () => File | null}}
 */
export function fileField(media, name) {
  const id = unique(name);
  const input = element("input", { type: "file", id, accept: media, required: true });
  const preview = element("div", { class: "preview" });
  const shown = element("div", { class: "field drop" },
    element("label", { for: id }, "Choose a file or drop it here"), input, preview);
  let address = "";
  const show = () => {
    URL.revokeObjectURL(address);
    const file = input.files?.[0];
    if (!file) return preview.replaceChildren();
    address = URL.createObjectURL(file);
    if (file.type.startsWith("image/")) preview.replaceChildren(element("img", { src: address, alt: "The chosen image" }));
    else if (file.type.startsWith("audio/")) preview.replaceChildren(element("audio", { src: address, controls: true }));
    else if (file.type.startsWith("video/")) preview.replaceChildren(element("video", { src: address, controls: true }));
    else preview.replaceChildren();
  };
  input.addEventListener("change", show);
  shown.addEventListener("dragover", (event) => {
    event.preventDefault();
    shown.classList.add("over");
  });
  shown.addEventListener("dragleave", () => shown.classList.remove("over"));
  shown.addEventListener("drop", (event) => {
    event.preventDefault();
    shown.classList.remove("over");
    if (event.dataTransfer?.files.length) {
      input.files = event.dataTransfer.files;
      show();
    }
  });
  return { shown, file: () => input.files?.[0] ?? null };
}

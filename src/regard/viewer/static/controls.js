// Buttons and choices that change the state, and show it.

import { element } from "./dom.js";
import { fullName } from "./thumbnails.js";

/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./state.js").State} State */

let groups = 0;

/**
 * A choice of which all options are seen.
 * @template {keyof State} K
 * @param {Store} store
 * @param {K} name of the part of the state
 * @param {string} label
 * @param {[State[K], string][]} options
 * @param {AbortSignal} signal
 * @returns {HTMLElement}
 */
export function segments(store, name, label, options, signal) {
  const group = `regard-choice-${++groups}`;
  const inputs = options.map(([value]) => {
    const input = element("input", { type: "radio", name: group });
    input.addEventListener("change", () => store.set(/** @type {Partial<State>} */ ({ [name]: value })), { signal });
    return input;
  });
  const show = () => options.forEach(([value], at) => (inputs[at].checked = store.state[name] === value));
  show();
  store.listen(show);
  const choices = options.map(([, text], at) => element("label", {}, inputs[at], element("span", {}, text)));
  return element("fieldset", { class: "regard-segments" }, element("legend", {}, label), ...choices);
}

/**
 * @param {Store} store
 * @param {"hide" | "words"} name
 * @param {string} label
 * @param {AbortSignal} signal
 * @returns {HTMLElement}
 */
export function toggle(store, name, label, signal) {
  const input = element("input", { type: "checkbox" });
  input.addEventListener("change", () => store.set({ [name]: input.checked }), { signal });
  const show = () => (input.checked = store.state[name]);
  show();
  store.listen(show);
  return element("label", { class: "regard-toggle" }, input, element("span", {}, label));
}

/**
 * The choice of a head to compare with, among layers of equal shape.
 * @param {Store} store
 * @param {AbortSignal} signal
 * @returns {HTMLElement}
 */
export function comparison(store, signal) {
  const select = element("select", {});
  const node = element("label", { class: "regard-compare" }, element("span", {}, "Minus"), select);
  const fill = () => {
    const { layer: shown, other } = store.state;
    const [, queries, keys] = store.layer.shape;
    select.replaceChildren(element("option", { value: "" }, "nothing"));
    store.source.layers.forEach((layer, at) => {
      if (layer.shape[1] !== queries || layer.shape[2] !== keys) return;
      const group = element("optgroup", { label: layer.name });
      const heads = layer.shape[0] > 1 ? [-1, ...Array(layer.shape[0]).keys()] : [0];
      for (const head of heads) {
        if (at === shown && head === store.state.head) continue;
        group.append(element("option", { value: `${at}.${head}` }, fullName(layer, head)));
      }
      if (group.children.length) select.append(group);
    });
    select.value = other ? other.join(".") : "";
    node.hidden = select.options.length < 2;
  };
  fill();
  store.listen((state, changed) => {
    if (changed.has("layer") || changed.has("head") || changed.has("other")) fill();
  });
  select.addEventListener("change", () => {
    const [layer, head] = select.value.split(".").map(Number);
    store.set({ other: select.value ? [layer, head] : null });
  }, { signal });
  return node;
}

/** Milliseconds that a query is shown while they are stepped through. */
const STEP = 700;

/**
 * A button that selects one query after another.
 * @param {Store} store
 * @param {AbortSignal} signal
 */
export function player(store, signal) {
  const button = element("button", { type: "button" });
  let timer = 0;
  const show = () => {
    button.hidden = store.axis(store.state.side).labels.length < 2;
    button.textContent = timer ? "❚❚ Stop" : "▶ Play";
    button.title = timer ? "" : "Step through the positions";
  };
  const stop = () => {
    window.clearInterval(timer);
    timer = 0;
    show();
  };
  const step = () => {
    const { selected, side } = store.state;
    const length = store.axis(side).labels.length;
    if (selected + 1 >= length) return stop();
    store.set({ selected: selected + 1, hover: -1 });
    if (selected + 2 >= length) stop();
  };
  const play = () => {
    if (timer) return stop();
    if (store.state.selected + 1 >= store.axis(store.state.side).labels.length) store.set({ selected: -1 });
    timer = window.setInterval(step, STEP);
    step();
    show();
  };
  button.addEventListener("click", play, { signal });
  signal.addEventListener("abort", stop);
  store.listen(show);
  show();
  return { button, play };
}

// The colour bar: what colours mean, and a brush that clips the scale.

import { css, colourOf, offScale } from "./colours.js";
import { element, prepareCanvas, themeOf } from "./dom.js";
import { formatWeight } from "./numbers.js";

/** @typedef {import("./colours.js").Colouring} Colouring */
/** @typedef {import("./dom.js").Theme} Theme */
/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./surface.js").Surface} Surface */

const HEIGHT_OF_BAR = 12;

/**
 * @param {Surface} surface
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {Colouring} colouring
 */
export function drawBar(surface, x, y, width, colouring) {
  const { scale, top, signed } = colouring;
  for (let pixel = 0; pixel < width; pixel++) {
    const place = signed ? (2 * pixel) / width - 1 : pixel / width;
    const value = Math.sign(place) * offScale(Math.abs(place), scale) * (top || 1);
    surface.fillStyle = css(colourOf(value, { ...colouring, top: top || 1 }));
    surface.fillRect(x + pixel, y, 1.02, HEIGHT_OF_BAR);
  }
}

/**
 * The weights where the colours begin and end.
 * @param {Colouring} colouring
 * @returns {[number, number]}
 */
export function barEnds({ scale, top, low, high, signed }) {
  const [from, to] = [offScale(low, scale) * top, offScale(high, scale) * top];
  return [signed ? -to : from, to];
}

/**
 * @param {Element} root
 * @param {Store} store
 * @param {() => Colouring} colouring
 * @param {AbortSignal} signal
 */
export function colourBar(root, store, colouring, signal) {
  const canvas = element("canvas", { class: "regard-bar-canvas", "aria-hidden": "true" });
  const handle = (/** @type {string} */ name) => element("div", {
    class: "regard-handle", role: "slider", tabindex: 0, "aria-label": name, "aria-valuemin": 0, "aria-valuemax": 1,
  });
  const handles = { low: handle("Colours begin at"), high: handle("Colours end at") };
  const track = element("div", { class: "regard-track" }, canvas, handles.low, handles.high);
  const [from, to] = [element("span", {}), element("span", {})];
  const reset = element("button", { type: "button", class: "regard-link" }, "reset");
  const node = element("div", { class: "regard-colours" }, from, track, to, reset);
  reset.addEventListener("click", () => store.set({ low: 0, high: 1 }), { signal });

  const place = (/** @type {PointerEvent} */ event) => {
    const box = track.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    return store.state.other ? Math.abs(2 * share - 1) : share;
  };
  /** @type {(end: "low" | "high", value: number) => void} */
  const move = (end, value) => {
    const { low, high } = store.state;
    store.set(end === "low" ? { low: Math.max(0, Math.min(value, high - 0.02)) } : { high: Math.min(1, Math.max(value, low + 0.02)) });
  };
  /** @type {"low" | "high" | null} */
  let dragged = null;
  track.addEventListener("pointerdown", (event) => {
    const { low, high } = store.state;
    const at = place(event);
    dragged = Math.abs(at - low) < Math.abs(at - high) ? "low" : "high";
    track.setPointerCapture(event.pointerId);
    move(dragged, at);
  }, { signal });
  track.addEventListener("pointermove", (event) => {
    if (dragged) move(dragged, place(event));
  }, { signal });
  const end = () => {
    dragged = null;
  };
  track.addEventListener("pointerup", end, { signal });
  track.addEventListener("pointercancel", end, { signal });
  for (const name of /** @type {const} */ (["low", "high"])) {
    handles[name].addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, Home: -1, End: 1 }[event.key];
      if (!step) return;
      move(name, store.state[name] + step);
      event.preventDefault();
      event.stopPropagation();
    }, { signal });
  }
  let drawn = "";
  const draw = () => {
    const colours = colouring();
    const width = track.clientWidth;
    const key = JSON.stringify([colours, width, themeOf(root).ground]);
    if (key === drawn || !width) return;
    drawn = key;
    drawBar(prepareCanvas(canvas, width, HEIGHT_OF_BAR), 0, 0, width, colours);
    const ends = barEnds(colours);
    [from.textContent, to.textContent] = ends.map(formatWeight);
    const { low, high } = store.state;
    for (const [name, value] of /** @type {["low" | "high", number][]} */ ([["low", low], ["high", high]])) {
      const share = store.state.other ? 0.5 + value / 2 : value;
      handles[name].style.left = `${100 * share}%`;
      handles[name].setAttribute("aria-valuenow", value.toFixed(2));
      handles[name].setAttribute("aria-valuetext", formatWeight(offScale(value, colours.scale) * colours.top));
    }
    reset.hidden = low === 0 && high === 1;
  };
  return { node, draw };
}

// Positions over their pictures: patches of an image, moments of a spectrogram, frames of a video, boxes, joints.

import { colourOf, css, strength } from "./colours.js";
import { element, oncePerFrame, prepareCanvas, setAttributes, themeOf } from "./dom.js";
import { describe, formatWeight } from "./numbers.js";
import { connectPicking } from "./picking.js";
import { activeOf } from "./state.js";

/** @typedef {import("./source.js").Axis} Axis */
/** @typedef {import("./current.js").Current} Current */
/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./state.js").Side} Side */

/** Pictures that are shown at a time, and the least height of a wide one, such as a spectrogram, in pixels. */
const [PICTURES, LEAST] = [64, 96];

/**
 * One picture, and the positions on it.
 * @typedef {object} Picture
 * @property {HTMLImageElement} image
 * @property {HTMLCanvasElement} canvas
 * @property {number[]} positions
 */

/**
 * Whether positions of an axis have a place on a picture.
 * @param {Axis} axis
 */
export function isPictured(axis) {
  return axis.pictures.length > 0 && axis.places.some(Boolean);
}

/** The pictures of an axis, shaded by the weights of what is selected. */
export class Pictures {
  /**
   * @param {Element} root
   * @param {Store} store
   * @param {Current} current
   * @param {Side[]} sides
   * @param {AbortSignal} signal
   */
  constructor(root, store, current, sides, signal) {
    this.root = root;
    this.store = store;
    this.current = current;
    this.sides = sides;
    this.axis = store.axis(sides[0]);
    this.caption = element("p", { class: "regard-quiet" });
    this.grid = element("div", { class: "regard-pictures" });
    // Many pictures are scrolled in a box of their own, by keys, too.
    if (this.axis.pictures.length > 1) {
      setAttributes(this.grid, { class: "regard-pictures regard-several", role: "group", tabindex: 0, "aria-label": "Pictures" });
    }
    this.loose = this.chips(signal);
    /** @type {Picture[]} */
    this.pictures = [];
    const what = sides.length > 1 ? "Picture" : sides[0] === "query" ? "Queries" : "Keys";
    this.node = element("div", { class: "regard-text-box" }, element("h3", {}, what), this.grid, this.caption);
    if (this.loose.children.length) this.node.append(this.loose);
    this.redraw = oncePerFrame(() => this.show());
    this.fill(signal);
    const watch = new ResizeObserver(this.redraw);
    watch.observe(this.grid);
    signal.addEventListener("abort", () => watch.disconnect());
  }

  /**
   * Positions without a place, such as a class token.
   * @param {AbortSignal} signal
   */
  chips(signal) {
    const node = element("div", { class: "regard-parts" });
    this.axis.places.forEach((place, at) => {
      if (place || node.children.length >= 32) return;
      const button = element("button", { type: "button" }, this.axis.labels[at]);
      button.dataset.at = String(at);
      node.append(button);
    });
    connectPicking(node, this.store, this.sides, ({ target }) => {
      const button = target instanceof Element ? target.closest("button") : null;
      return button ? Number(button.dataset.at) : -1;
    }, signal);
    return node;
  }

  /** @param {AbortSignal} signal */
  fill(signal) {
    const { pictures, places } = this.axis;
    pictures.slice(0, PICTURES).forEach((address, number) => {
      // Other addresses would be requests.
      if (!/^(data:image\/|blob:)/.test(address)) return;
      const image = element("img", { alt: "" });
      const canvas = element("canvas", { role: "img" });
      const positions = [...places.keys()].filter((at) => places[at]?.[0] === number);
      this.pictures.push({ image, canvas, positions });
      this.grid.append(canvas);
      image.addEventListener("load", this.redraw, { signal });
      image.src = address;
      connectPicking(canvas, this.store, this.sides, (event) => this.positionAt(canvas, positions, event), signal);
    });
    if (pictures.length > PICTURES) {
      this.node.append(element("p", { class: "regard-quiet" }, `The first ${PICTURES} of ${pictures.length} pictures.`));
    }
  }

  /**
   * The smallest place under the pointer.
   * @param {HTMLCanvasElement} canvas
   * @param {number[]} positions
   * @param {MouseEvent} event
   */
  positionAt(canvas, positions, event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    let [smallest, least] = [-1, Infinity];
    for (const at of positions) {
      const [, left, top, right, bottom] = this.axis.places[at] ?? [0, 1, 1, 0, 0];
      const size = (right - left) * (bottom - top);
      if (x >= left && x < right && y >= top && y < bottom && size < least) [smallest, least] = [at, size];
    }
    return smallest;
  }

  show() {
    const values = this.current.shading(this.sides);
    const active = activeOf(this.store.state);
    const own = active && this.sides.includes(active.side) ? active.index : -1;
    for (const picture of this.pictures) this.draw(picture, values, own);
    for (const chip of this.loose.children) {
      if (!(chip instanceof HTMLElement)) continue;
      const at = Number(chip.dataset.at);
      chip.setAttribute("aria-pressed", String(at === own));
      chip.textContent = this.axis.labels[at] + (values ? ` ${formatWeight(values[at])}` : "");
    }
    const weight = own >= 0 && values ? `: ${formatWeight(values[own])}` : "";
    this.caption.textContent = own >= 0 ? `${this.axis.unit} ${describe(this.axis, own)}${weight}` : "\u00a0";
  }

  /**
   * @param {Picture} picture
   * @param {Float32Array | null} values
   * @param {number} own the position that is selected
   */
  draw({ image, canvas, positions }, values, own) {
    const width = canvas.clientWidth;
    if (!image.naturalWidth || !width) return;
    const aspect = image.naturalHeight / image.naturalWidth;
    const height = Math.round(aspect < 0.25 ? Math.max(width * aspect, Math.min(LEAST, width)) : width * aspect);
    canvas.style.height = `${height}px`;
    const context = prepareCanvas(canvas, width, height);
    context.drawImage(image, 0, 0, width, height);
    const colouring = this.current.colouring(values);
    const outlined = this.axis.unit === "box";
    // The largest weights lie on top.
    const order = values ? [...positions].sort((a, b) => Math.abs(values[a]) - Math.abs(values[b])) : positions;
    for (const at of order) {
      const place = this.axis.places[at];
      if (!place) continue;
      const [x, y, w, h] = [place[1] * width, place[2] * height, (place[3] - place[1]) * width, (place[4] - place[2]) * height];
      if (values) {
        const share = Math.abs(strength(values[at], colouring));
        context.globalAlpha = outlined ? 0.15 + 0.85 * share : 0.12 + 0.58 * share;
        context.fillStyle = context.strokeStyle = css(colourOf(values[at], colouring));
        context.lineWidth = 1 + 3 * share;
        if (outlined) context.strokeRect(x, y, w, h);
        else context.fillRect(x, y, w, h);
        context.globalAlpha = 1;
      }
      if (at === own) this.frame(context, x, y, w, h);
    }
    const selected = own >= 0 && positions.includes(own) ? `, ${describe(this.axis, own)} is selected` : "";
    canvas.setAttribute("aria-label", `Picture with ${positions.length} positions${selected}`);
  }

  /** @type {(context: CanvasRenderingContext2D, x: number, y: number, width: number, height: number) => void} */
  frame(context, x, y, width, height) {
    context.strokeStyle = "#ffffff";
    context.lineWidth = 4;
    context.strokeRect(x + 1, y + 1, width - 2, height - 2);
    context.strokeStyle = themeOf(this.root).mark;
    context.lineWidth = 2;
    context.strokeRect(x + 1, y + 1, width - 2, height - 2);
  }
}

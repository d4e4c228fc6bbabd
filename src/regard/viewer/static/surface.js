// A drawing as SVG, by the calls of a canvas that the viewer uses: what is exported is drawn by the same code.

import { drawing } from "./dom.js";

/**
 * What drawing code may use.
 * @typedef {Pick<CanvasRenderingContext2D, "fillStyle" | "strokeStyle" | "lineWidth" | "font" | "textAlign" |
 *   "textBaseline" | "globalAlpha" | "fillRect" | "strokeRect" | "beginPath" | "moveTo" | "lineTo" | "stroke" | "fill" |
 *   "fillText" | "drawImage" | "save" | "restore" | "translate" | "rotate">} Surface
 */

/** @typedef {{x: number, y: number, angle: number, alpha: number}} Placed */

/** Makes an SVG element of what is drawn. Only one turn by `rotate` after a `translate` is kept. */
export class SvgSurface {
  /**
   * @param {number} width
   * @param {number} height
   */
  constructor(width, height) {
    this.svg = drawing("svg", { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}` });
    /** @type {string | CanvasGradient | CanvasPattern} */
    this.fillStyle = "#000000";
    /** @type {string | CanvasGradient | CanvasPattern} */
    this.strokeStyle = "#000000";
    this.lineWidth = 1;
    this.font = "12px sans-serif";
    /** @type {CanvasTextAlign} */
    this.textAlign = "left";
    /** @type {CanvasTextBaseline} */
    this.textBaseline = "alphabetic";
    this.globalAlpha = 1;
    this.path = "";
    this.moved = { x: 0, y: 0, angle: 0 };
    /** @type {Placed[]} */
    this.saved = [];
  }

  save() {
    this.saved.push({ ...this.moved, alpha: this.globalAlpha });
  }

  restore() {
    const { alpha, ...moved } = this.saved.pop() ?? { x: 0, y: 0, angle: 0, alpha: 1 };
    [this.moved, this.globalAlpha] = [moved, alpha];
  }

  /** @type {(x: number, y: number) => void} */
  translate(x, y) {
    this.moved = { ...this.moved, x: this.moved.x + x, y: this.moved.y + y };
  }

  /** @param {number} angle in radians */
  rotate(angle) {
    this.moved = { ...this.moved, angle: this.moved.angle + (angle * 180) / Math.PI };
  }

  /**
   * @param {SVGElement} node
   * @param {boolean} filled
   */
  add(node, filled) {
    const { x, y, angle } = this.moved;
    node.setAttribute("fill", filled ? String(this.fillStyle) : "none");
    if (!filled) {
      node.setAttribute("stroke", String(this.strokeStyle));
      node.setAttribute("stroke-width", String(this.lineWidth));
    }
    if (this.globalAlpha < 1) node.setAttribute("opacity", String(this.globalAlpha));
    if (x || y || angle) node.setAttribute("transform", `translate(${x} ${y}) rotate(${angle})`);
    this.svg.append(node);
  }

  /** @type {(x: number, y: number, width: number, height: number) => void} */
  fillRect(x, y, width, height) {
    this.add(drawing("rect", { x, y, width, height }), true);
  }

  /** @type {(x: number, y: number, width: number, height: number) => void} */
  strokeRect(x, y, width, height) {
    this.add(drawing("rect", { x, y, width, height }), false);
  }

  beginPath() {
    this.path = "";
  }

  /** @type {(x: number, y: number) => void} */
  moveTo(x, y) {
    this.path += `M${x.toFixed(2)} ${y.toFixed(2)}`;
  }

  /** @type {(x: number, y: number) => void} */
  lineTo(x, y) {
    this.path += `L${x.toFixed(2)} ${y.toFixed(2)}`;
  }

  stroke() {
    this.add(drawing("path", { d: this.path }), false);
  }

  fill() {
    this.add(drawing("path", { d: this.path }), true);
  }

  /** @type {(text: string, x: number, y: number) => void} */
  fillText(text, x, y) {
    const anchor = { left: "start", start: "start", center: "middle", right: "end", end: "end" }[this.textAlign];
    const line = this.textBaseline === "middle" ? "central" : this.textBaseline === "top" ? "hanging" : "auto";
    const node = drawing("text", { x, y, "text-anchor": anchor, "dominant-baseline": line }, text);
    node.style.font = this.font;
    this.add(node, true);
  }

  /** @type {(image: CanvasImageSource, x: number, y: number, width?: number, height?: number) => void} */
  drawImage(image, x, y, width, height) {
    if (!(image instanceof HTMLCanvasElement)) return;
    this.add(drawing("image", {
      x, y, width: width ?? image.width, height: height ?? image.height, href: image.toDataURL("image/png"),
      preserveAspectRatio: "none",
    }), true);
  }
}

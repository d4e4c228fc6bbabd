// Colours of weights: viridis, and a diverging scale for differences.

/** @typedef {"linear" | "sqrt" | "log"} Scale */

/**
 * How weights become colours.
 * @typedef {object} Colouring
 * @property {Scale} scale
 * @property {number} top the weight at the scale's end
 * @property {number} low where the clipped scale begins, from 0 to 1 of the whole scale
 * @property {number} high where it ends
 * @property {boolean} signed whether values are differences
 */

const VIRIDIS = [
  "440154", "482475", "414487", "355f8d", "2a788e", "21918c", "22a884", "44bf70", "7ad151", "bddf26", "fde725",
];
/** Blue, neutral and orange: they differ for every kind of colour vision. */
const DIVERGING = ["2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7", "fee0b6", "fdb863", "e08214", "b35806"];

/** Decades of the logarithmic scale. */
const DECADES = 5;

/**
 * @param {string} hex
 * @returns {[number, number, number]}
 */
function rgbOf(hex) {
  const value = parseInt(hex.replace("#", ""), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/**
 * @param {string[]} anchors
 * @returns {Uint8ClampedArray} 256 colours, red, green, blue
 */
function interpolated(anchors) {
  const colours = anchors.map(rgbOf);
  const table = new Uint8ClampedArray(256 * 3);
  for (let at = 0; at < 256; at++) {
    const place = (at / 255) * (colours.length - 1);
    const left = Math.min(Math.floor(place), colours.length - 2);
    for (let c = 0; c < 3; c++) {
      table[3 * at + c] = colours[left][c] + (place - left) * (colours[left + 1][c] - colours[left][c]);
    }
  }
  return table;
}

const TABLES = { plain: interpolated(VIRIDIS), signed: interpolated(DIVERGING) };

/**
 * Where a size is on the scale, from 0 to 1, before clipping.
 * @param {number} share of the scale's end
 * @param {Scale} scale
 * @returns {number}
 */
function onScale(share, scale) {
  if (!(share > 0)) return 0;
  if (share >= 1) return 1;
  if (scale === "linear") return share;
  return scale === "sqrt" ? Math.sqrt(share) : Math.max(0, 1 + Math.log10(share) / DECADES);
}

/**
 * The inverse of `onScale`.
 * @param {number} place
 * @param {Scale} scale
 * @returns {number}
 */
export function offScale(place, scale) {
  if (scale === "linear") return place;
  return scale === "sqrt" ? place * place : place <= 0 ? 0 : 10 ** (DECADES * (place - 1));
}

/**
 * How strong a value is shown, from 0 to 1; a difference's sign is kept.
 * @param {number} value
 * @param {Colouring} colouring
 * @returns {number}
 */
export function strength(value, { scale, top, low, high }) {
  const place = onScale(Math.abs(value) / (top || 1), scale);
  const clipped = Math.min(1, Math.max(0, (place - low) / Math.max(1e-6, high - low)));
  return value < 0 ? -clipped : clipped;
}

/**
 * @param {number} value
 * @param {Colouring} colouring
 * @returns {[number, number, number]}
 */
export function colourOf(value, colouring) {
  const share = strength(value, colouring);
  const table = colouring.signed ? TABLES.signed : TABLES.plain;
  const at = 3 * Math.round(255 * (colouring.signed ? (share + 1) / 2 : share));
  return [table[at], table[at + 1], table[at + 2]];
}

/**
 * @param {[number, number, number]} colour
 * @returns {string}
 */
export function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`;
}

/**
 * Paint values as pixels. What is no number stays transparent.
 * @param {Float32Array} values
 * @param {Colouring} colouring
 * @param {ImageData} image of as many pixels
 */
export function paint(values, colouring, image) {
  const { scale, top, low, high, signed } = colouring;
  const table = signed ? TABLES.signed : TABLES.plain;
  const pixels = image.data;
  const [factor, span] = [1 / (top || 1), 1 / Math.max(1e-6, high - low)];
  for (let at = 0; at < values.length; at++) {
    const value = values[at];
    const share = Math.abs(value) * factor;
    let place = scale === "linear" ? share : scale === "sqrt" ? Math.sqrt(share) : share > 0 ? 1 + Math.log10(share) / DECADES : 0;
    place = place <= low ? 0 : place >= high ? 1 : (place - low) * span;
    const entry = 3 * Math.round(255 * (signed ? (value < 0 ? 1 - place : 1 + place) / 2 : place));
    pixels[4 * at] = table[entry];
    pixels[4 * at + 1] = table[entry + 1];
    pixels[4 * at + 2] = table[entry + 2];
    pixels[4 * at + 3] = value === value ? 255 : 0;
  }
}

/**
 * The relative luminance of WCAG.
 * @param {[number, number, number]} colour
 * @returns {number}
 */
function luminance(colour) {
  const [red, green, blue] = colour.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/**
 * Black or white, whichever is easier to read on a colour: one of them always has a contrast of 4.5.
 * @param {[number, number, number]} ground
 * @returns {string}
 */
export function inkOn(ground) {
  return luminance(ground) > 0.179 ? "#000000" : "#ffffff";
}

/**
 * The ground of a text that is shaded by a weight: from the page's ground to a full colour.
 * @param {number} share from −1 to 1
 * @param {string} ground the page's
 * @returns {[number, number, number]}
 */
export function shade(share, ground) {
  const from = rgbOf(ground);
  const dark = luminance(from) < 0.179;
  const to = rgbOf(share < 0 ? (dark ? "3b82d0" : "92c5de") : dark ? "d08a1c" : "f5a623");
  const mixed = from.map((part, at) => Math.round(part + Math.abs(share) * (to[at] - part)));
  return /** @type {[number, number, number]} */ (mixed);
}

/**
 * The same colouring for values of another range.
 * @param {Colouring} colouring
 * @param {ArrayLike<number>} values
 * @returns {Colouring}
 */
export function fitted(colouring, values) {
  let top = 0;
  for (let at = 0; at < values.length; at++) if (Math.abs(values[at]) > top) top = Math.abs(values[at]);
  return { ...colouring, top };
}

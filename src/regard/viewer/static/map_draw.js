// The drawing of a map around its tiles: labels, ticks, margins, and what is selected.

import { formatWeight, ticks, visible } from "./numbers.js";

/** @typedef {import("./source.js").Axis} Axis */
/** @typedef {import("./dom.js").Theme} Theme */
/** @typedef {import("./place.js").Place} Place */
/** @typedef {import("./state.js").Side} Side */
/** @typedef {import("./surface.js").Surface} Surface */

/**
 * What is drawn around the tiles.
 * @typedef {object} Around
 * @property {Axis} queries
 * @property {Axis} keys
 * @property {Float32Array | null} entropy a number a query
 * @property {Float32Array | null} received a number a key
 * @property {{side: Side, index: number} | null} selected
 * @property {{side: Side, index: number} | null} hover
 * @property {number[]} pins queries
 * @property {{side: Side, positions: number[]}} hits
 */

/** The gutters of labels and margins around a map, in pixels. */
export const GUTTERS = { left: 84, top: 54, right: 52, bottom: 40 };
/** The same where all keys have their labels from the start. */
export const LABELLED_GUTTERS = { ...GUTTERS, top: 84 };
/** Letters of a key's label in these gutters. */
const LETTERS = { [GUTTERS.top]: 9, [LABELLED_GUTTERS.top]: 15 };
/** The same where there is little room. */
export const NARROW_GUTTERS = { left: 60, top: 54, right: 48, bottom: 40 };

const FONT = "11px system-ui, sans-serif";
/** Pixels of a position from which each one gets its label. */
const ROOM = 13;

/**
 * @param {Surface} surface
 * @param {Place} place
 * @param {Around} around
 * @param {Theme} theme
 */
export function drawAround(surface, place, around, theme) {
  const { plot } = place;
  surface.font = FONT;
  surface.lineWidth = 1;
  surface.strokeStyle = theme.line;
  surface.strokeRect(plot.x - 0.5, plot.y - 0.5, plot.width + 1, plot.height + 1);
  drawHits(surface, place, around, theme);
  drawQueries(surface, place, around, theme);
  drawKeys(surface, place, around, theme);
  drawEntropy(surface, place, around.entropy, theme);
  drawReceived(surface, place, around.received, theme);
  for (const pin of around.pins) outline(surface, place, { side: "query", index: pin }, theme.mark, 1, theme.ground);
  if (around.hover) outline(surface, place, around.hover, theme.quiet, 1, theme.ground);
  if (around.selected) outline(surface, place, around.selected, theme.accent, 2, theme.ground);
}

/**
 * The positions of an axis that get a text: all where there is room, otherwise round numbers.
 * @param {Axis} axis
 * @param {number} from
 * @param {number} to
 * @param {number} pixels of a position
 * @param {number} apart pixels between numbers
 * @param {number} letters of a text at most
 * @returns {{at: number, text: string}[]}
 */
function marks(axis, from, to, pixels, apart, letters) {
  const last = Math.min(axis.labels.length, Math.ceil(to));
  if (pixels < ROOM) {
    return ticks(Math.ceil(from), last, ((to - from) * pixels) / apart).map((at) => ({ at, text: at.toLocaleString("en") }));
  }
  const all = [];
  for (let at = Math.max(0, Math.floor(from)); at < last; at++) {
    all.push({ at, text: shortened(visible(axis.labels[at]), letters) });
  }
  return all;
}

/**
 * @param {string} text
 * @param {number} most
 */
function shortened(text, most) {
  const letters = [...text];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
}

/**
 * @param {Surface} surface
 * @param {Place} place
 * @param {Around} around
 * @param {Theme} theme
 */
function drawQueries(surface, place, { queries, selected }, theme) {
  const { plot, region, height } = place;
  surface.textAlign = "right";
  surface.textBaseline = "middle";
  for (const { at, text } of marks(queries, region.q0, region.q1, height, 36, plot.x > 70 ? 11 : 8)) {
    const y = place.y(at + 0.5);
    if (y < plot.y - 2 || y > plot.y + plot.height + 2) continue;
    surface.fillStyle = selected?.side === "query" && selected.index === at ? theme.accent : theme.quiet;
    surface.fillText(text, plot.x - 8, y);
  }
}

/**
 * @param {Surface} surface
 * @param {Place} place
 * @param {Around} around
 * @param {Theme} theme
 */
function drawKeys(surface, place, { keys, selected }, theme) {
  const { plot, region, width } = place;
  const upright = width < ROOM;
  surface.textBaseline = upright ? "alphabetic" : "middle";
  surface.textAlign = upright ? "center" : "left";
  for (const { at, text } of marks(keys, region.k0, region.k1, width, 64, LETTERS[plot.y])) {
    const x = place.x(at + 0.5);
    if (x < plot.x - 2 || x > plot.x + plot.width + 2) continue;
    surface.fillStyle = selected?.side === "key" && selected.index === at ? theme.accent : theme.quiet;
    surface.save();
    surface.translate(x, plot.y - 8);
    if (!upright) surface.rotate(-Math.PI / 3);
    surface.fillText(text, 0, 0);
    surface.restore();
  }
}

/**
 * The mean of values at pixels.
 * @param {Float32Array} values
 * @param {number} from the first position that is shown
 * @param {number} one positions a pixel
 * @param {number} pixels
 * @returns {number[]}
 */
function means(values, from, one, pixels) {
  const averages = [];
  for (let pixel = 0; pixel < pixels; pixel++) {
    const start = Math.min(values.length - 1, Math.max(0, Math.floor(from + pixel * one)));
    const end = Math.min(values.length, Math.max(start + 1, Math.floor(from + (pixel + 1) * one)));
    let total = 0;
    for (let at = start; at < end; at++) total += values[at];
    averages.push(total / (end - start));
  }
  return averages;
}

/**
 * @param {Surface} surface
 * @param {Place} place
 * @param {Float32Array | null} entropy
 * @param {Theme} theme
 */
function drawEntropy(surface, place, entropy, theme) {
  if (!entropy) return;
  const { plot, region } = place;
  const [x, width] = [plot.x + plot.width + 5, 24];
  const values = means(entropy, region.q0, 1 / place.height, Math.round(plot.height));
  const top = Math.max(...values, 1e-9);
  area(surface, values.map((value, at) => [x + (width * value) / top, plot.y + at]), [x, plot.y], [x, plot.y + plot.height], theme);
  const y = plot.y + plot.height;
  caption(surface, "entropy", x, y + 11, "left", theme);
  caption(surface, `to ${formatWeight(top)}`, x, y + 24, "left", theme);
}

/**
 * @param {Surface} surface
 * @param {Place} place
 * @param {Float32Array | null} received
 * @param {Theme} theme
 */
function drawReceived(surface, place, received, theme) {
  if (!received) return;
  const { plot, region } = place;
  const [y, height] = [plot.y + plot.height + 5, 24];
  const values = means(received, region.k0, 1 / place.width, Math.round(plot.width));
  const top = Math.max(...values, 1e-9);
  const points = values.map((value, at) => [plot.x + at, y + height * Math.sqrt(value / top)]);
  area(surface, points, [plot.x, y], [plot.x + plot.width, y], theme);
  caption(surface, "received", plot.x - 8, y + 5, "right", theme);
  caption(surface, `√, to ${formatWeight(top)}`, plot.x - 8, y + 18, "right", theme);
}

/**
 * @param {Surface} surface
 * @param {number[][]} points
 * @param {[number, number]} start
 * @param {[number, number]} end
 * @param {Theme} theme
 */
function area(surface, points, start, end, theme) {
  surface.fillStyle = theme.quiet;
  surface.globalAlpha = 0.55;
  surface.beginPath();
  surface.moveTo(...start);
  for (const [x, y] of points) surface.lineTo(x, y);
  surface.lineTo(...end);
  surface.fill();
  surface.globalAlpha = 1;
}

/**
 * @param {Surface} surface
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {CanvasTextAlign} align
 * @param {Theme} theme
 */
function caption(surface, text, x, y, align, theme) {
  surface.font = "10px system-ui, sans-serif";
  surface.textAlign = align;
  surface.textBaseline = "middle";
  surface.fillStyle = theme.quiet;
  surface.fillText(text, x, y);
  surface.font = FONT;
}

/**
 * A line around a query's row or a key's column.
 * @param {Surface} surface
 * @param {Place} place
 * @param {{side: Side, index: number}} position
 * @param {string} colour
 * @param {number} width
 * @param {string} ground
 */
function outline(surface, place, { side, index }, colour, width, ground) {
  const { plot } = place;
  const row = side === "query";
  const [from, to] = row ? [place.y(index), place.y(index + 1)] : [place.x(index), place.x(index + 1)];
  const [start, end] = row ? [plot.y, plot.y + plot.height] : [plot.x, plot.x + plot.width];
  const [a, b] = [Math.max(start, from), Math.min(end, to)];
  if (b < a) return;
  // With a line of the page's ground around it, the coloured one is seen on all cells; this needs room.
  const lines = b - a > 6 ? [[ground, width + 2], [colour, width]] : [[colour, width]];
  for (const [stroke, thick] of lines) {
    surface.strokeStyle = String(stroke);
    surface.lineWidth = Number(thick);
    if (row) surface.strokeRect(plot.x - 4, a - 0.5, plot.width + 8, Math.max(1, b - a));
    else surface.strokeRect(a - 0.5, plot.y - 4, Math.max(1, b - a), plot.height + 8);
  }
}

/**
 * Hits of the search, at the map's edge.
 * @param {Surface} surface
 * @param {Place} place
 * @param {Around} around
 * @param {Theme} theme
 */
function drawHits(surface, place, { hits: { side, positions } }, theme) {
  const { plot, region } = place;
  const [from, to] = side === "query" ? [region.q0, region.q1] : [region.k0, region.k1];
  surface.fillStyle = theme.mark;
  let last = -1;
  for (const at of positions) {
    if (at < from || at >= to) continue;
    const pixel = Math.round(side === "query" ? place.y(at + 0.5) : place.x(at + 0.5));
    if (pixel === last) continue;
    last = pixel;
    if (side === "query") surface.fillRect(plot.x - 6, pixel - 1, 5, 2);
    else surface.fillRect(pixel - 1, plot.y - 6, 2, 5);
  }
}

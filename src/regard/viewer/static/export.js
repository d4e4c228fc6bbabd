// What is seen, as SVG and PNG, and the weights of what is selected as CSV.

import { barEnds, drawBar } from "./bar.js";
import { drawing, element, themeOf } from "./dom.js";
import { formatWeight } from "./numbers.js";
import { SvgSurface } from "./surface.js";

/** @typedef {import("./map.js").HeadMap} HeadMap */
/** @typedef {import("./source.js").Axis} Axis */
/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./weights.js").Reading} Reading */

/** Space around a drawing, and pixels of a PNG for each of the page. */
const [EDGE, SHARPNESS] = [12, 2];
/** What is no part of a drawing. */
const LEFT_OUT = ".regard-tools, .regard-parts, button:not(.regard-link), summary, [hidden], details:not([open])";

/**
 * The map with its title and colours.
 * @param {HeadMap} map
 * @param {string} title
 * @param {string} what a cell is
 * @returns {SVGSVGElement}
 */
export function mapDrawing(map, title, what) {
  const theme = themeOf(map.root);
  const { width, height } = map.size;
  const surface = new SvgSurface(width, height + 74);
  surface.fillStyle = theme.ground;
  surface.fillRect(0, 0, width, height + 74);
  surface.fillStyle = theme.ink;
  surface.font = "600 14px system-ui, sans-serif";
  surface.fillText(title, EDGE, 22);
  const place = map.place();
  const { plot } = place;
  const moved = { ...plot, y: plot.y + 24 };
  surface.drawImage(seenTiles(map), moved.x, moved.y, moved.width, moved.height);
  surface.translate(0, 24);
  map.drawAround(surface, place);
  surface.translate(0, -24);
  const colouring = map.colouring();
  const [from, to] = barEnds(colouring).map(formatWeight);
  surface.font = "11px system-ui, sans-serif";
  surface.textAlign = "left";
  surface.textBaseline = "middle";
  surface.fillStyle = theme.quiet;
  const y = height + 24 + EDGE;
  surface.fillText(from, EDGE, y);
  drawBar(surface, EDGE + 40, y - 6, 160, colouring);
  surface.fillStyle = theme.quiet;
  surface.fillText(to, EDGE + 208, y);
  surface.fillText(what, EDGE, y + 22);
  return surface.svg;
}

/**
 * The tiles as they are seen, in the screen's pixels.
 * @param {HeadMap} map
 */
function seenTiles(map) {
  const ratio = window.devicePixelRatio || 1;
  const place = map.place();
  const { plot } = place;
  const canvas = element("canvas");
  [canvas.width, canvas.height] = [Math.round(plot.width * ratio), Math.round(plot.height * ratio)];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, -plot.x * ratio, -plot.y * ratio);
  map.drawTiles(context, place);
  return canvas;
}

/**
 * The texts, colours and pictures of an element, where they are on the page.
 * @param {Element} root
 * @param {Element} panel
 * @returns {SVGSVGElement}
 */
export function panelDrawing(root, panel) {
  const box = panel.getBoundingClientRect();
  const surface = new SvgSurface(Math.ceil(box.width) + 2 * EDGE, Math.ceil(box.height) + 2 * EDGE);
  const { ground, mark } = themeOf(root);
  surface.fillStyle = ground;
  surface.fillRect(0, 0, Math.ceil(box.width) + 2 * EDGE, Math.ceil(box.height) + 2 * EDGE);
  const [dx, dy] = [EDGE - box.left, EDGE - box.top];
  for (const node of panel.querySelectorAll("canvas, svg, [role=option], .regard-bar")) {
    if (!isSeen(node)) continue;
    const { left, top, width, height } = node.getBoundingClientRect();
    if (node instanceof HTMLCanvasElement) surface.drawImage(node, left + dx, top + dy, width, height);
    else if (node instanceof SVGSVGElement) surface.svg.append(drawing("g", { transform: `translate(${left + dx} ${top + dy})` }, ...copied(node)));
    else drawGround(surface, node, dx, dy, mark);
  }
  drawTexts(surface, panel, dx, dy);
  return surface.svg;
}

/**
 * @param {SVGSVGElement} svg
 * @returns {Node[]}
 */
function copied(svg) {
  return [...svg.childNodes].map((child) => child.cloneNode(true));
}

/**
 * Whether a node is in a drawing and within the part that its box has scrolled to.
 * @param {Element} node
 */
function isSeen(node) {
  if (node.closest(LEFT_OUT)) return false;
  const list = node.closest(".regard-text");
  if (!list) return true;
  const [own, outer] = [node.getBoundingClientRect(), list.getBoundingClientRect()];
  return own.top >= outer.top - 1 && own.bottom <= outer.bottom + 1;
}

/**
 * @param {SvgSurface} surface
 * @param {Element} node
 * @param {number} dx
 * @param {number} dy
 * @param {string} mark the colour of hits and pinned positions
 */
function drawGround(surface, node, dx, dy, mark) {
  const style = getComputedStyle(node);
  surface.save();
  surface.globalAlpha = Number(style.opacity);
  for (const { left, top, width, height } of node.getClientRects()) {
    surface.fillStyle = style.backgroundColor;
    surface.fillRect(left + dx, top + dy, width, height);
    if (node.matches(".regard-hit, .regard-pinned")) {
      surface.fillStyle = mark;
      surface.fillRect(left + dx, top + dy + height - 2, width, 2);
    }
    if (!node.classList.contains("regard-own")) continue;
    surface.strokeStyle = style.outlineColor;
    surface.lineWidth = 2;
    surface.strokeRect(left + dx, top + dy, width, height);
  }
  surface.restore();
}

/**
 * Each word where it is.
 * @param {SvgSurface} surface
 * @param {Element} panel
 * @param {number} dx
 * @param {number} dy
 */
function drawTexts(surface, panel, dx, dy) {
  const walker = document.createTreeWalker(panel, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  surface.textAlign = "left";
  surface.textBaseline = "middle";
  while (walker.nextNode()) {
    const node = /** @type {Text} */ (walker.currentNode);
    const parent = node.parentElement;
    if (!parent || parent.closest("svg") || !isSeen(parent)) continue;
    const style = getComputedStyle(parent);
    surface.fillStyle = style.color;
    surface.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    for (const { 0: word, index } of node.data.matchAll(/\S+/g)) {
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const { left, top, height } = range.getBoundingClientRect();
      surface.fillText(word, left + dx, top + dy + height / 2);
    }
  }
}

/**
 * @param {SVGSVGElement} svg
 * @returns {Blob}
 */
function svgBlob(svg) {
  return new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" });
}

/**
 * @param {SVGSVGElement} svg
 * @returns {Promise<Blob>}
 */
async function pngBlob(svg) {
  const address = URL.createObjectURL(svgBlob(svg));
  const image = element("img", {});
  image.src = address;
  try {
    await image.decode();
    const canvas = element("canvas");
    [canvas.width, canvas.height] = [svg.width.baseVal.value * SHARPNESS, svg.height.baseVal.value * SHARPNESS];
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) =>
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture is too large for a PNG.")))));
  } finally {
    URL.revokeObjectURL(address);
  }
}

/**
 * A reading's weights, one position a line.
 * @param {Store} store
 * @param {Reading} reading
 * @returns {Blob}
 */
export function csvBlob(store, reading) {
  const axis = store.axis(reading.side === "query" ? "key" : "query");
  const timed = axis.seconds.length > 0;
  const lines = [["position", "label", ...(timed ? ["start", "end"] : []), "weight", "known"].join(",")];
  axis.labels.forEach((label, at) => {
    const times = timed ? (axis.seconds[at] ?? ["", ""]) : [];
    const known = reading.how === "top" && reading.values[at] === 0 ? "no" : reading.how;
    lines.push([at, quoted(label), ...times, Number(reading.values[at].toPrecision(7)), known].join(","));
  });
  return new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" });
}

/**
 * A label as a field of CSV. A spreadsheet would compute what begins like a formula.
 * @param {string} label
 */
function quoted(label) {
  return `"${label.replace(/^(?=[=+\-@\t\r])/, "'").replaceAll('"', '""')}"`;
}

/**
 * Let the browser save a file.
 * @param {Blob} blob
 * @param {string} name
 */
export function saveFile(blob, name) {
  const address = URL.createObjectURL(blob);
  element("a", { href: address, download: name }).click();
  window.setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/**
 * Buttons that save drawings.
 * @param {Store} store
 * @param {string} what the name of the part
 * @param {() => SVGSVGElement} draw
 * @param {AbortSignal} signal
 * @returns {HTMLElement}
 */
export function exportButtons(store, what, draw, signal) {
  const button = (/** @type {"SVG" | "PNG"} */ kind) => {
    const one = element("button", { type: "button", "aria-label": `Save the ${what} as ${kind}` }, kind);
    one.addEventListener("click", async () => {
      const svg = draw();
      saveFile(kind === "SVG" ? svgBlob(svg) : await pngBlob(svg), fileName(store, what, kind.toLowerCase()));
    }, { signal });
    return one;
  };
  return element("div", { class: "regard-exports" }, button("SVG"), button("PNG"));
}

/**
 * @param {Store} store
 * @param {string} what
 * @param {string} ending
 */
export function fileName({ state, layer }, what, ending) {
  const head = state.head < 0 ? "mean" : `head${layer.heads[state.head] ?? state.head}`;
  return `${layer.name.replace(/[^\w.-]+/g, "_")}-${head}-${what}.${ending}`;
}

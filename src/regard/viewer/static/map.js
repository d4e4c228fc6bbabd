// The map of one head: tiles on a canvas, drawn once a frame at most.

import { element, oncePerFrame, prepareCanvas, themeOf } from "./dom.js";
import { fetchFor } from "./fetching.js";
import { drawAround, GUTTERS, LABELLED_GUTTERS, NARROW_GUTTERS } from "./map_draw.js";
import { Place } from "./place.js";
import { cellOf, Tiles } from "./tiles.js";

/** @typedef {import("./state.js").Store} Store */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./weights.js").Weights} Weights */
/** @typedef {import("./colours.js").Colouring} Colouring */
/** @typedef {import("./tiles.js").Tile} Tile */
/** @typedef {import("./surface.js").Surface} Surface */
/** @typedef {import("./search.js").Hits} Hits */

/** Milliseconds between requests while the map moves, and pictures that are coloured anew in a frame. */
const [PAUSE, PAINTS] = [80, 3];
/** Keys whose labels are all seen in a whole map. */
const LABELLED = 32;

/** Changes of the state after which other tiles are needed. */
const NEW_TILES = /** @type {const} */ (["layer", "head", "other", "pooling", "hide"]);
/** Changes after which the map is drawn anew. */
const DRAWN = /** @type {const} */ (["region", "scale", "low", "high", "selected", "hover", "pins", "side", "find"]);

/** The map, its canvas and its tiles. */
export class HeadMap {
  /**
   * @param {Element} root whose colours are used
   * @param {Store} store
   * @param {Weights} weights
   * @param {() => Hits} hits of the search
   * @param {() => void} drawn called after each drawing
   */
  constructor(root, store, weights, hits, drawn) {
    this.root = root;
    this.store = store;
    this.weights = weights;
    this.hits = hits;
    this.drawn = drawn;
    this.canvas = element("canvas", { class: "regard-canvas", tabindex: 0, role: "application" });
    this.node = element("div", { class: "regard-map" }, this.canvas);
    /** @type {Float32Array | null} */
    this.entropy = null;
    /** @type {Float32Array | null} */
    this.received = null;
    this.problem = "";
    this.waiting = 0;
    this.redraw = oncePerFrame(() => this.draw());
    this.size = { width: 0, height: 0 };
    this.tiles = this.renew();
    this.watch = new ResizeObserver(() => this.resize());
    this.watch.observe(this.node);
    store.listen((state, changed) => this.follow(changed));
  }

  /** @param {Set<keyof State>} changed */
  follow(changed) {
    if (NEW_TILES.some((name) => changed.has(name))) {
      this.tiles.stop();
      this.tiles = this.renew();
      if (changed.has("layer")) this.resize();
    } else if (!DRAWN.some((name) => changed.has(name))) return;
    const { selected, side, region } = this.store.state;
    if (changed.has("selected") && selected >= 0 && region) {
      this.store.set({ region: this.place().showing(side, selected) });
    }
    if (changed.has("region")) this.askSoon();
    this.redraw();
  }

  /** @returns {Tiles} for the state */
  renew() {
    const { state, source, layer } = this.store;
    const [, queries, keys] = layer.shape;
    this.problem = "";
    this.loadMargins(state);
    this.askSoon();
    return new Tiles(fetchFor(source, this.weights, state), [queries, keys], (error) => {
      if (error) this.problem = error.message;
      this.redraw();
    });
  }

  /** @param {State} state */
  async loadMargins({ layer, head, other, hide }) {
    [this.entropy, this.received] = [null, null];
    if (other) return;
    const [entropy, received] = await Promise.all([
      this.weights.statistic(layer, head, "entropy"), this.weights.received(layer, head, hide),
    ]);
    const now = this.store.state;
    if (now.layer !== layer || now.head !== head || now.hide !== hide) return;
    [this.entropy, this.received] = [entropy, received];
    this.redraw();
  }

  /** Fit the canvas into its place: as wide as there is room, and no higher than wide. */
  resize() {
    const width = this.node.clientWidth;
    if (!width) return;
    const gutters = this.gutters(width);
    const [, queries, keys] = this.store.layer.shape;
    const plot = Math.max(80, width - gutters.left - gutters.right);
    const height = Math.round(Math.min(plot, Math.max(plot * (queries / keys), Math.min(plot, 140, 28 * queries))));
    this.size = { width, height: height + gutters.top + gutters.bottom };
    this.canvas.style.height = `${this.size.height}px`;
    this.askSoon();
    this.draw();
  }

  /** @param {number} width */
  gutters(width) {
    if (width < 420) return NARROW_GUTTERS;
    return this.store.layer.shape[2] <= LABELLED ? LABELLED_GUTTERS : GUTTERS;
  }

  /** @returns {Place} of the region that is shown */
  place() {
    const { width, height } = this.size;
    const { left, top, right, bottom } = this.gutters(width);
    const [, queries, keys] = this.store.layer.shape;
    const plot = { x: left, y: top, width: Math.max(1, width - left - right), height: Math.max(1, height - top - bottom) };
    return new Place([queries, keys], this.store.state.region, plot);
  }

  /**
   * The level whose cells are as large as pixels.
   * @param {Place} place
   */
  level(place) {
    const ratio = window.devicePixelRatio || 1;
    return this.tiles.level(1 / (place.height * ratio), 1 / (place.width * ratio));
  }

  /**
   * The colours of a level's tiles: the scale ends at the largest value that was seen there.
   * @param {string} [level] by default that which is shown
   * @returns {Colouring}
   */
  colouring(level) {
    const { scale, low, high, other } = this.store.state;
    const top = this.tiles.largest.get(level ?? this.level(this.place()).join(".")) ?? 0;
    return { scale, top, low, high, signed: other !== null };
  }

  /** Ask for tiles after a pause, so that moving fast does not ask for what is gone. */
  askSoon() {
    if (this.waiting) return;
    this.waiting = window.setTimeout(() => {
      this.waiting = 0;
      this.ask();
    }, PAUSE);
  }

  ask() {
    if (!this.size.width) return;
    const place = this.place();
    const level = this.level(place);
    const { q0, q1, k0, k1 } = place.region;
    const far = (/** @type {Tile} */ { window }) =>
      Math.abs((window.q0 + window.q1 - q0 - q1) / (q1 - q0)) + Math.abs((window.k0 + window.k1 - k0 - k1) / (k1 - k0));
    const seen = this.tiles.cover(level, place.region);
    const near = this.tiles.cover(level, place.around()).sort((a, b) => far(a) - far(b));
    const [queries, keys] = this.tiles.top;
    const whole = this.tiles.cover([queries, keys], place.region);
    this.tiles.want([...new Map([...whole, ...seen.sort((a, b) => far(a) - far(b)), ...near].map((one) => [one.key, one])).values()]);
  }

  draw() {
    const { width, height } = this.size;
    if (!width || !this.canvas.isConnected) return;
    const place = this.place();
    const context = prepareCanvas(this.canvas, width, height);
    // Fingers scroll the page where the whole map is seen.
    this.node.classList.toggle("regard-zoomed", this.store.state.region !== null);
    this.drawTiles(context, place);
    this.drawAround(context, place);
    this.drawn();
  }

  /**
   * @param {Surface} surface
   * @param {Place} place
   */
  drawAround(surface, place) {
    const { state } = this.store;
    const selected = state.selected >= 0 ? { side: state.side, index: state.selected } : null;
    const hover = state.hover >= 0 ? { side: state.hoverSide, index: state.hover } : null;
    drawAround(surface, place, {
      queries: this.store.axis("query"), keys: this.store.axis("key"), entropy: this.entropy, received: this.received,
      selected, hover, pins: state.pins, hits: this.hits(),
    }, themeOf(this.root));
  }

  /**
   * Coarse tiles first, where finer ones are missing.
   * @param {CanvasRenderingContext2D} context
   * @param {Place} place
   */
  drawTiles(context, place) {
    const [a, b] = this.level(place);
    const { plot, region } = place;
    let paints = PAINTS;
    const draw = (/** @type {Tile[]} */ tiles) => {
      let complete = true;
      for (const tile of tiles) {
        const colouring = this.colouring(tile.level);
        const fresh = tile.painted === JSON.stringify(colouring);
        const picture = this.tiles.picture(tile, colouring, fresh || paints > 0);
        if (!fresh && tile.map && paints-- <= 0) this.redraw();
        if (picture) drawTile(context, place, tile, picture);
        else complete = false;
      }
      return complete;
    };
    context.save();
    context.beginPath();
    context.rect(plot.x, plot.y, plot.width, plot.height);
    context.clip();
    const fine = this.tiles.cover([a, b], region);
    if (fine.some((tile) => !tile.picture)) {
      const [p, q] = this.tiles.top;
      for (let up = Math.max(p - a, q - b); up > 0; up--) {
        draw(this.tiles.cover([Math.min(p, a + up), Math.min(q, b + up)], region).filter((tile) => tile.map));
      }
    }
    draw(fine);
    context.restore();
  }

  /**
   * The value that is shown at a position.
   * @param {number} query
   * @param {number} key
   */
  cell(query, key) {
    const [a, b] = this.level(this.place());
    const [p, q] = this.tiles.top;
    const at = { q0: query, q1: query + 1, k0: key, k1: key + 1 };
    for (let up = 0; up <= Math.max(p - a, q - b); up++) {
      for (const tile of this.tiles.cover([Math.min(p, a + up), Math.min(q, b + up)], at)) {
        const cell = cellOf(tile, query, key);
        if (cell) return cell;
      }
    }
    return null;
  }

  destroy() {
    this.watch.disconnect();
    window.clearTimeout(this.waiting);
    this.tiles.stop();
  }
}

/**
 * Edges lie on pixels of the screen, so that there are no seams.
 * @param {CanvasRenderingContext2D} context
 * @param {Place} place
 * @param {Tile} tile
 * @param {HTMLCanvasElement} picture
 */
function drawTile(context, place, { window: { q0, q1, k0, k1 } }, picture) {
  const ratio = window.devicePixelRatio || 1;
  const snap = (/** @type {number} */ at) => Math.round(at * ratio) / ratio;
  const [x0, x1, y0, y1] = [place.x(k0), place.x(k1), place.y(q0), place.y(q1)].map(snap);
  // Cells smaller than a pixel are averaged, larger ones keep their edges.
  context.imageSmoothingEnabled = (x1 - x0) * ratio < picture.width || (y1 - y0) * ratio < picture.height;
  context.drawImage(picture, x0, y0, x1 - x0, y1 - y0);
}

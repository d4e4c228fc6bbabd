// A pyramid of tiles: each is asked for once, those not seen any more are cancelled, and 200 are kept.

import { paint } from "./colours.js";
import { Recent } from "./recent.js";

/** @typedef {import("./source.js").Map2D} Map2D */
/** @typedef {import("./source.js").Window} Window */
/** @typedef {import("./colours.js").Colouring} Colouring */

/** Cells of a tile's side, and how many tiles are kept and are asked for at a time. */
const [SIDE, KEPT, AT_A_TIME] = [256, 200, 15];

/**
 * @typedef {object} Tile
 * @property {string} key
 * @property {string} level
 * @property {Window} window
 * @property {Map2D | null} map null: not there yet
 * @property {AbortController} stop
 * @property {HTMLCanvasElement | null} picture
 * @property {string} painted the colouring of the picture
 */

/**
 * @callback Fetch
 * @param {Window} window
 * @param {number} rows
 * @param {number} columns
 * @param {AbortSignal} signal
 * @returns {Promise<Map2D>}
 */

/** The tiles of one map. A cell of level (a, b) has 2^a queries and 2^b keys. */
export class Tiles {
  /**
   * @param {Fetch} fetch
   * @param {[number, number]} shape queries and keys
   * @param {(error?: Error) => void} changed called when a tile arrives, or could not be had
   */
  constructor(fetch, shape, changed) {
    this.fetch = fetch;
    this.shape = shape;
    this.changed = changed;
    this.top = shape.map((length) => Math.max(0, Math.ceil(Math.log2(length / SIDE))));
    /** @type {Recent<Tile>} */
    this.tiles = new Recent(KEPT);
    /** @type {Map<string, Tile>} */
    this.running = new Map();
    /** @type {Tile[]} */
    this.queue = [];
    /** @type {Map<string, number>} the largest size of a value, by level */
    this.largest = new Map();
  }

  /**
   * The level whose cells are nearest to a pixel.
   * @param {number} queries a pixel
   * @param {number} keys a pixel
   * @returns {[number, number]}
   */
  level(queries, keys) {
    const [a, b] = [queries, keys].map((one, at) => Math.min(this.top[at], Math.max(0, Math.round(Math.log2(one)))));
    return [a, b];
  }

  /**
   * The tiles of a level that meet a window, made if they aren't there; none is asked for yet.
   * @param {[number, number]} level
   * @param {Window} window
   * @returns {Tile[]}
   */
  cover([a, b], window) {
    const [height, width] = [SIDE * 2 ** a, SIDE * 2 ** b];
    const tiles = [];
    for (let row = Math.floor(Math.max(0, window.q0) / height); row * height < Math.min(window.q1, this.shape[0]); row++) {
      for (let column = Math.floor(Math.max(0, window.k0) / width); column * width < Math.min(window.k1, this.shape[1]); column++) {
        tiles.push(this.tile(`${a}.${b}`, row * height, column * width, height, width));
      }
    }
    return tiles;
  }

  /**
   * @param {string} level
   * @param {number} q0
   * @param {number} k0
   * @param {number} height
   * @param {number} width
   * @returns {Tile}
   */
  tile(level, q0, k0, height, width) {
    const key = `${level}.${q0}.${k0}`;
    const there = this.tiles.get(key) ?? this.running.get(key);
    if (there) return there;
    const window = { q0, q1: Math.min(q0 + height, this.shape[0]), k0, k1: Math.min(k0 + width, this.shape[1]) };
    return { key, level, window, map: null, stop: new AbortController(), picture: null, painted: "" };
  }

  /**
   * Ask for tiles in this order; those that were asked for earlier and aren't among them are cancelled.
   * @param {Tile[]} tiles
   */
  want(tiles) {
    const wanted = new Set(tiles.map((tile) => tile.key));
    for (const tile of [...this.running.values()]) {
      if (wanted.has(tile.key)) continue;
      tile.stop.abort();
      this.running.delete(tile.key);
    }
    this.queue = tiles.filter((tile) => !tile.map && !this.running.has(tile.key));
    this.next();
  }

  /** Ask for as many of the queue as may run at a time. */
  next() {
    while (this.running.size < AT_A_TIME && this.queue.length) this.start(/** @type {Tile} */ (this.queue.shift()));
  }

  /** @param {Tile} tile */
  async start(tile) {
    this.running.set(tile.key, tile);
    const [a, b] = tile.level.split(".").map(Number);
    const { q0, q1, k0, k1 } = tile.window;
    try {
      const map = await this.fetch(
        tile.window, Math.ceil((q1 - q0) / 2 ** a), Math.ceil((k1 - k0) / 2 ** b), tile.stop.signal);
      if (tile.stop.signal.aborted) return;
      if (!map.values.length) throw new Error("There is no map of this head.");
      tile.map = map;
      this.tiles.set(tile.key, tile);
      this.largest.set(tile.level, Math.max(this.largest.get(tile.level) ?? 0, largest(map.values)));
      this.done(tile);
    } catch (error) {
      if (!tile.stop.signal.aborted) this.done(tile, error instanceof Error ? error : new Error(String(error)));
    }
  }

  /**
   * @param {Tile} tile
   * @param {Error} [error]
   */
  done(tile, error) {
    this.running.delete(tile.key);
    this.changed(error);
    this.next();
  }

  /** Cancel whatever is asked for. */
  stop() {
    this.want([]);
  }

  /**
   * A tile as a picture in these colours.
   * @param {Tile} tile which is there
   * @param {Colouring} colouring
   * @param {boolean} mayPaint otherwise an old picture will do
   * @returns {HTMLCanvasElement | null}
   */
  picture(tile, colouring, mayPaint) {
    const colours = JSON.stringify(colouring);
    if (!tile.map || tile.painted === colours || !mayPaint) return tile.picture;
    const { rows, columns, values } = tile.map;
    if (!tile.picture) tile.picture = document.createElement("canvas");
    if (tile.picture.width !== columns || tile.picture.height !== rows) {
      [tile.picture.width, tile.picture.height] = [columns, rows];
    }
    const context = /** @type {CanvasRenderingContext2D} */ (tile.picture.getContext("2d"));
    const image = context.createImageData(columns, rows);
    paint(values, colouring, image);
    context.putImageData(image, 0, 0);
    tile.painted = colours;
    return tile.picture;
  }
}

/**
 * @param {Float32Array} values
 * @returns {number}
 */
function largest(values) {
  let most = 0;
  for (let at = 0; at < values.length; at++) {
    const size = Math.abs(values[at]);
    if (size > most && size < Infinity) most = size;
  }
  return most;
}

/**
 * The value of the cell at a position.
 * @param {Tile} tile
 * @param {number} query
 * @param {number} key
 * @returns {{value: number, how: Map2D["how"], queries: number, keys: number} | null} and the block that it stands for
 */
export function cellOf({ map, window: { q0, q1, k0, k1 } }, query, key) {
  if (!map || query < q0 || query >= q1 || key < k0 || key >= k1) return null;
  const row = Math.min(map.rows - 1, Math.floor(((query + 0.5 - q0) / (q1 - q0)) * map.rows));
  const column = Math.min(map.columns - 1, Math.floor(((key + 0.5 - k0) / (k1 - k0)) * map.columns));
  const [queries, keys] = [Math.round((q1 - q0) / map.rows), Math.round((k1 - k0) / map.columns)];
  return { value: map.values[row * map.columns + column], how: map.how, queries, keys };
}

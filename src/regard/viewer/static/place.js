// Where positions are on a map, and how moving and zooming change the part that is shown.

/** @typedef {import("./source.js").Window} Window */

/**
 * The rectangle of the map on its canvas, in CSS pixels.
 * @typedef {object} Plot
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {number} height
 */

/** Fewer positions than this are not enlarged any more. */
const FEWEST = 4;

/** A region of the map, in a rectangle of pixels. */
export class Place {
  /**
   * @param {[number, number]} shape queries and keys
   * @param {Window | null} region
   * @param {Plot} plot
   */
  constructor(shape, region, plot) {
    this.shape = shape;
    this.region = region ?? { q0: 0, q1: shape[0], k0: 0, k1: shape[1] };
    this.plot = plot;
    /** Pixels of a query and of a key. */
    this.height = plot.height / (this.region.q1 - this.region.q0);
    this.width = plot.width / (this.region.k1 - this.region.k0);
  }

  /** @param {number} key */
  x(key) {
    return this.plot.x + (key - this.region.k0) * this.width;
  }

  /** @param {number} query */
  y(query) {
    return this.plot.y + (query - this.region.q0) * this.height;
  }

  /** @param {number} x */
  key(x) {
    return (x - this.plot.x) / this.width + this.region.k0;
  }

  /** @param {number} y */
  query(y) {
    return (y - this.plot.y) / this.height + this.region.q0;
  }

  /**
   * Whether a point is in the map.
   * @param {number} x
   * @param {number} y
   */
  has(x, y) {
    const { plot } = this;
    return x >= plot.x && x < plot.x + plot.width && y >= plot.y && y < plot.y + plot.height;
  }

  /**
   * The region after zooming around a point.
   * @param {number} x
   * @param {number} y
   * @param {number} factor more than 1: fewer positions
   * @returns {Window}
   */
  zoomed(x, y, factor) {
    const { q0, q1, k0, k1 } = this.region;
    const [key, query] = [this.key(x), this.query(y)];
    const width = Math.max(Math.min(FEWEST, this.shape[1]), (k1 - k0) / factor);
    const height = Math.max(Math.min(FEWEST, this.shape[0]), (q1 - q0) / factor);
    const left = key - ((key - k0) * width) / (k1 - k0);
    const above = query - ((query - q0) * height) / (q1 - q0);
    return { q0: above, q1: above + height, k0: left, k1: left + width };
  }

  /**
   * The region after moving the map by pixels.
   * @param {number} dx
   * @param {number} dy
   * @returns {Window}
   */
  moved(dx, dy) {
    const { q0, q1, k0, k1 } = this.region;
    const [keys, queries] = [dx / this.width, dy / this.height];
    return { q0: q0 - queries, q1: q1 - queries, k0: k0 - keys, k1: k1 - keys };
  }

  /**
   * The region, moved if a position is outside of it.
   * @param {"query" | "key"} side
   * @param {number} index
   * @returns {Window}
   */
  showing(side, index) {
    const { q0, q1, k0, k1 } = this.region;
    const move = (/** @type {number} */ from, /** @type {number} */ to) =>
      index < from || index + 1 > to ? index + 0.5 - (from + to) / 2 : 0;
    const [down, right] = side === "query" ? [move(q0, q1), 0] : [0, move(k0, k1)];
    return { q0: q0 + down, q1: q1 + down, k0: k0 + right, k1: k1 + right };
  }

  /** Three times the region's area, for tiles that may be seen next. */
  around() {
    const { q0, q1, k0, k1 } = this.region;
    const [height, width] = [(q1 - q0) * 0.366, (k1 - k0) * 0.366];
    return { q0: q0 - height, q1: q1 + height, k0: k0 - width, k1: k1 + width };
  }
}

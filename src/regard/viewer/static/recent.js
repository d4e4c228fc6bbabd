// The values that were used last.

/**
 * A map of at most `limit` entries that forgets the one that was not used for longest.
 * @template T
 */
export class Recent {
  /** @param {number} limit */
  constructor(limit) {
    this.limit = limit;
    /** @type {Map<string, T>} */
    this.entries = new Map();
  }

  /**
   * @param {string} key
   * @returns {T | undefined}
   */
  get(key) {
    const value = this.entries.get(key);
    if (value !== undefined) {
      this.entries.delete(key);
      this.entries.set(key, value);
    }
    return value;
  }

  /**
   * @param {string} key
   * @param {T} value
   */
  set(key, value) {
    this.entries.delete(key);
    this.entries.set(key, value);
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= this.limit) break;
      this.entries.delete(oldest);
    }
  }

  /** @param {string} key */
  delete(key) {
    this.entries.delete(key);
  }
}

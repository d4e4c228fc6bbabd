// Weights from queries, keys and the log-sum-exp, as regard's kernels define them: softmax of a dot product or a distance,
// with a scale, softcap, a number for each distance, an interval of keys for each query, and a sink.

/** @typedef {import("./tensors.js").Numbers} Numbers */

/**
 * What the weights of one head are computed from.
 * @typedef {object} HeadInputs
 * @property {"dot" | "distance"} score
 * @property {number} scale
 * @property {number} softcap 0: none
 * @property {number} width of a query and a key
 * @property {number} queries their number
 * @property {number} keys their number
 * @property {Numbers} query queries × width
 * @property {Numbers} key keys × width
 * @property {Numbers} total the log-sum-exp of each query's scores, without the sink; −∞: it sees no key
 * @property {Numbers | null} start the first key that each query sees; one number for all, or one for each
 * @property {Numbers | null} end one past the last, likewise
 * @property {Numbers | null} relative what is added to the score, by key − query + queries − 1
 * @property {number | null} sink a logit in the sum that has no key
 */

/**
 * The weights of some queries for some keys, added to what is there.
 * @param {HeadInputs} head
 * @param {number} q0 the first query
 * @param {number} q1 one past the last
 * @param {number} k0
 * @param {number} k1
 * @param {Float32Array} into (q1 − q0) × (k1 − k0), from `at` on
 * @param {number} at
 * @param {number} factor of the weights
 */
export function addWeights(head, q0, q1, k0, k1, into, at, factor) {
  const { query, key, width, softcap, relative } = head;
  const distance = head.score === "distance";
  const scale = distance ? 2 * head.scale : head.scale;
  const scores = new Float64Array(k1 - k0);
  const norms = distance ? normsOf(key, width, k0, k1, head.scale) : null;
  for (let q = q0; q < q1; q++, at += k1 - k0) {
    const total = logOfSum(head.total[q], head.sink);
    const from = Math.max(k0, boundOf(head.start, q, 0));
    const to = Math.min(k1, boundOf(head.end, q, head.keys));
    if (total === -Infinity || from >= to) continue;
    dotsInto(query, q * width, key, from, to, width, scores);
    const own = distance ? normsOf(query, width, q, q + 1, head.scale)[0] : 0;
    const shift = head.queries - 1 - q;
    for (let k = from, place = at + from - k0; k < to; k++, place++) {
      let score = scores[k - from] * scale;
      if (norms) score -= own + norms[k - k0];
      if (softcap) score = Math.tanh(score / softcap) * softcap;
      if (relative) score += relative[k + shift];
      into[place] += factor * Math.exp(score - total);
    }
  }
}

/**
 * The dot products of a query with the keys from `from` to `to`, four at a time, so that a query's number is read once
 * for four keys.
 * @param {Numbers} query
 * @param {number} at the query's first number
 * @param {Numbers} key
 * @param {number} from
 * @param {number} to
 * @param {number} width
 * @param {Float64Array} into
 */
function dotsInto(query, at, key, from, to, width, into) {
  let k = from;
  for (; k + 4 <= to; k += 4) {
    const one = k * width;
    const two = one + width;
    const three = two + width;
    const four = three + width;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let e = 0; e < width; e++) {
      const number = query[at + e];
      a += number * key[one + e];
      b += number * key[two + e];
      c += number * key[three + e];
      d += number * key[four + e];
    }
    const place = k - from;
    into[place] = a;
    into[place + 1] = b;
    into[place + 2] = c;
    into[place + 3] = d;
  }
  for (; k < to; k++) {
    let sum = 0;
    for (let e = 0; e < width; e++) sum += query[at + e] * key[k * width + e];
    into[k - from] = sum;
  }
}

/**
 * scale · |v|² of each vector.
 * @param {Numbers} vectors
 * @param {number} width
 * @param {number} from
 * @param {number} to
 * @param {number} scale
 * @returns {Float64Array}
 */
function normsOf(vectors, width, from, to, scale) {
  const norms = new Float64Array(to - from);
  for (let at = from; at < to; at++) {
    let sum = 0;
    for (let e = at * width; e < (at + 1) * width; e++) sum += vectors[e] * vectors[e];
    norms[at - from] = scale * sum;
  }
  return norms;
}

/**
 * log(exp(total) + exp(sink)); a query that sees no key has −∞ even with a sink.
 * @param {number} total
 * @param {number | null} sink
 * @returns {number}
 */
function logOfSum(total, sink) {
  if (sink === null || total === -Infinity) return total;
  const most = Math.max(total, sink);
  return most + Math.log(Math.exp(total - most) + Math.exp(sink - most));
}

/**
 * @param {Numbers | null} bounds
 * @param {number} query
 * @param {number} otherwise
 * @returns {number}
 */
function boundOf(bounds, query, otherwise) {
  if (!bounds) return otherwise;
  return bounds.length === 1 ? bounds[0] : bounds[query];
}

// Numbers and positions as people read them.

/** @typedef {import("./source.js").Axis} Axis */

/**
 * A weight: three significant digits, small ones with a power of ten.
 * @param {number} value
 * @returns {string}
 */
export function formatWeight(value) {
  if (Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 0.0005 ? Number(value.toPrecision(3)).toString() : value.toExponential(1);
  return text.replace("-", "−").replace("e", " e");
}

/**
 * @param {number} share from 0 to 1
 * @returns {string}
 */
export function formatShare(share) {
  if (share > 0 && share < 0.0005) return "less than 0.1 %";
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}

/**
 * A label as it is read: without a tokenizer's sign of a new word, and with signs for spaces and line breaks.
 * @param {string} label
 * @returns {string}
 */
export function visible(label) {
  const text = label.replace(/^[▁Ġ](?=.)/, "").replaceAll("\n", "⏎").replaceAll("\t", "⇥");
  return text.trim() === "" ? "␣".repeat(Math.max(1, text.length)) : text;
}

/**
 * @param {Axis} axis
 * @param {number} index
 * @returns {string} such as: 12 “house” (0.24–0.26 s)
 */
export function describe(axis, index) {
  const time = axis.seconds[index];
  const label = axis.labels[index] ?? "";
  const seconds = time ? ` (${formatSeconds(time)})` : "";
  return (label === "" || label === String(index) ? String(index) : `${index} “${visible(label)}”`) + seconds;
}

/**
 * @param {[number, number]} time start and end
 * @returns {string}
 */
export function formatSeconds([start, end]) {
  const digits = end - start < 0.1 ? 2 : 1;
  return end > start ? `${start.toFixed(digits)}–${end.toFixed(digits)} s` : `${start.toFixed(digits)} s`;
}

/**
 * What a number is, in words.
 * @param {"exact" | "half" | "pooled" | "coarse" | "top" | "none"} how
 * @returns {string}
 */
export function nameOfHow(how) {
  return {
    exact: "exact", half: "from half precision", pooled: "pooled", coarse: "from a coarser map", top: "top keys only",
    none: "not available",
  }[how];
}

/**
 * Positions of ticks, at most `most`, a round step apart.
 * @param {number} from
 * @param {number} to
 * @param {number} most
 * @returns {number[]}
 */
export function ticks(from, to, most) {
  const rough = Math.max(1, (to - from) / Math.max(1, most));
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => Math.max(1, Math.round(factor * power))).find((one) => one >= rough) ?? 1;
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at < to; at += step) ticks.push(at);
  return ticks;
}

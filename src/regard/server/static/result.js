// A result of any task as elements: names with their values, probabilities as bars, lists as tables.

import { element } from "/static/dom.js";

/** @typedef {import("./api.js").Json} Json */

/**
 * @param {Json} value
 * @returns {value is {[name: string]: Json}}
 */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * @param {Json} value
 * @returns {string} one value as text
 */
function text(value) {
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (value === null) return "—";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/**
 * @param {{[name: string]: Json}} shares name → a number from 0 to 1
 * @returns {HTMLElement}
 */
function bars(shares) {
  // An object has names that are whole numbers first, in whatever order they came.
  const sorted = Object.entries(shares).sort(([, one], [, other]) => Number(other) - Number(one));
  const rows = sorted.slice(0, 20).map(([name, share]) => element("tr", {},
    element("th", { scope: "row", dir: "auto" }, name),
    element("td", {}, element("meter", { min: "0", max: "1", value: String(share), "aria-hidden": "true" })),
    element("td", { class: "number" }, `${(100 * Number(share)).toFixed(1)} %`)));
  return element("table", {}, ...rows);
}

/**
 * @param {{[name: string]: Json}[]} rows objects with the same names
 * @returns {HTMLElement}
 */
function table(rows) {
  const names = [...new Set(rows.flatMap(Object.keys))];
  const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)));
  const body = rows.map((row) => element("tr", {}, ...names.map((name) => {
    const kind = typeof row[name] === "number" ? "number" : "";
    return element("td", { class: kind, dir: "auto" }, text(row[name] ?? ""));
  })));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

/**
 * @param {Json} value
 * @returns {HTMLElement}
 */
export function shown(value) {
  if (isObject(value)) {
    const parts = Object.entries(value);
    if (parts.length && parts.every(([, one]) => typeof one === "number" && one >= 0 && one <= 1)) return bars(value);
    return element("dl", {}, ...parts.flatMap(([name, one]) => [
      element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, shown(one))]));
  }
  if (Array.isArray(value) && value.length && value.every(isObject)) return table(value);
  return element("p", { dir: "auto", class: "value" }, text(value));
}

// Requests to the server, with the token where it needs one, and the types of what it says.

/**
 * A value that a request has.
 * @typedef {object} Asked
 * @property {string} name
 * @property {"text" | "whole" | "number" | "yes" | "list"} kind
 * @property {string} help
 * @property {boolean} needed
 * @property {boolean} optional whether it can be left out
 * @property {string | number | boolean | string[] | null} default
 * @property {string[]} choices
 * @property {boolean} long whether it is a text of any length
 * @property {number | null} most the largest number
 */

/**
 * One kind of request.
 * @typedef {object} Operation
 * @property {"predict" | "look"} command
 * @property {string} path
 * @property {string} file what the body is: "input", or the name of a value; empty: JSON
 * @property {string} media the type of the file
 * @property {Asked[]} asked
 */

/**
 * @typedef {object} Run
 * @property {string} name
 * @property {string} task
 * @property {string} summary
 * @property {string} unit
 * @property {string[]} forms the forms in which the attention is returned
 * @property {Operation[]} operations
 */

/** @typedef {string | number | boolean | null | Json[] | {[name: string]: Json}} Json */
/** @typedef {{[name: string]: string | number | boolean | string[]}} Values */

const TOKEN = "regard-token";

/** An answer of the server that is not the result. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} reason
   */
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

/**
 * Keep the token for this window.
 * @param {string} token
 */
export function setToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

/** @returns {Headers} with the token, if there is one */
export function authorization() {
  const headers = new Headers();
  const token = sessionStorage.getItem(TOKEN);
  // A header has no other characters, and neither has a token.
  if (token) headers.set("Authorization", `Bearer ${token.replace(/[^\x21-\x7e]/g, "?")}`);
  return headers;
}

/** Whether a token was given. */
export function hasToken() {
  return sessionStorage.getItem(TOKEN) !== null;
}

/**
 * The response to a request.
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 */
async function fetched(path, options = {}) {
  const headers = authorization();
  for (const [name, value] of new Headers(options.headers)) headers.set(name, value);
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const reason = await response.json().then((/** @type {{error?: string}} */ content) => content.error, () => "");
  throw new Refusal(response.status, reason || `The server answers with status ${response.status}.`);
}

/** @returns {Promise<Run[]>} all runs of the server */
export async function runs() {
  return (await (await fetched("/api/runs")).json()).runs;
}

/**
 * A saved view.
 * @typedef {object} View
 * @property {string} name
 * @property {string} title
 * @property {number} layers
 * @property {number} heads
 */

/** @returns {Promise<View[]>} all saved views of the server */
export async function views() {
  return (await (await fetched("/api/views")).json()).views;
}

/**
 * @param {string} name
 * @returns {Promise<Run>}
 */
export async function run(name) {
  return (await fetched(`/api/runs/${encodeURIComponent(name)}`)).json();
}

/**
 * Send a request.
 * @param {Operation} operation
 * @param {Values} values those that the operation has
 * @param {File | null} file
 * @param {string} [form] of the attention
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>}
 */
export function send(operation, values, file, form, signal) {
  const chosen = form === undefined ? values : { ...values, as: form };
  if (!operation.file) {
    const headers = { "Content-Type": "application/json" };
    return fetched(operation.path, { method: "POST", headers, body: JSON.stringify(chosen), signal });
  }
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(chosen)) {
    for (const one of Array.isArray(value) ? value : [value]) query.append(name, String(one));
  }
  if (file) query.append("name", file.name.slice(-200));
  const headers = { "Content-Type": "application/octet-stream" };
  return fetched(`${operation.path}?${query}`, { method: "POST", headers, body: file, signal });
}

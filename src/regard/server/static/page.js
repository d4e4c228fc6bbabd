// Parts of pages: messages, and the question for the token.

import { element } from "/static/dom.js";
import { hasToken, Refusal, setToken } from "./api.js";

/**
 * Show the content of a page; where the server needs a token, ask for it first.
 * @param {() => Promise<Node[]>} content
 */
export async function fill(content) {
  const place = /** @type {HTMLElement} */ (document.getElementById("content"));
  try {
    place.replaceChildren(...(await content()));
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) place.replaceChildren(tokenForm(content, error.message));
    else place.replaceChildren(element("p", { role: "alert" }, messageOf(error)));
  }
}

/**
 * @param {unknown} error
 * @returns {string} what to say about it
 */
export function messageOf(error) {
  // fetch throws a TypeError if there is no response.
  if (error instanceof TypeError || !(error instanceof Error)) return "The server cannot be reached.";
  return error.message;
}

/**
 * @param {() => Promise<Node[]>} content what is shown then
 * @param {string} reason why the token that was given is not taken
 * @returns {HTMLFormElement}
 */
function tokenForm(content, reason) {
  const input = element("input", { type: "password", id: "token", autocomplete: "off", required: true });
  const form = element("form", {}, element("label", { for: "token" }, "Token of this server"), input,
    element("button", {}, "Go on"), ...(hasToken() ? [element("p", { role: "alert" }, reason)] : []));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setToken(input.value);
    void fill(content);
  });
  return form;
}

// Parts of pages: elements, messages, and the question for the token.

import { Refusal, setToken } from "./api.js";

/**
 * A new element.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {{[name: string]: string | boolean}} attributes
 * @param {...(Node | string)} children strings are texts
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (typeof value === "string") made.setAttribute(attribute, value);
    else made.toggleAttribute(attribute, value);
  }
  made.append(...children);
  return made;
}

/**
 * Show the content of a page; where the server needs a token, ask for it first.
 * @param {() => Promise<Node[]>} content
 */
export async function fill(content) {
  const place = /** @type {HTMLElement} */ (document.getElementById("content"));
  try {
    place.replaceChildren(...(await content()));
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) place.replaceChildren(tokenForm(content));
    else place.replaceChildren(element("p", { role: "alert" }, messageOf(error)));
  }
}

/**
 * @param {unknown} error
 * @returns {string} what to say about it
 */
export function messageOf(error) {
  if (error instanceof Refusal) return error.message;
  return "The server cannot be reached.";
}

/**
 * @param {() => Promise<Node[]>} content what is shown then
 * @returns {HTMLFormElement}
 */
function tokenForm(content) {
  const input = element("input", { type: "password", id: "token", autocomplete: "off", required: true });
  const form = element("form", {}, element("label", { for: "token" }, "Token of this server"), input,
    element("button", {}, "Go on"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setToken(input.value);
    void fill(content);
  });
  return form;
}

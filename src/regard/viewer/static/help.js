// The list of keys.

import { element } from "./dom.js";
import { KEYS } from "./keys.js";

/**
 * @param {AbortSignal} signal
 * @returns {HTMLDialogElement}
 */
export function helpDialog(signal) {
  const rows = KEYS.flatMap(([key, text]) => [
    element("dt", {}, ...key.split(" ").flatMap((one) => [element("kbd", {}, one), " "])), element("dd", {}, text),
  ]);
  const close = element("button", { type: "button" }, "Close");
  const dialog = element("dialog", { class: "regard-help", "aria-label": "Keys" },
    element("h2", {}, "Keys"), element("dl", {}, ...rows),
    element("p", {}, "In the map, the wheel or two fingers zoom, dragging moves, Shift and dragging zooms into a rectangle, a click " +
      "selects, and Ctrl and a click pins a query. The margins show each query's entropy and what each key receives."),
    close);
  close.addEventListener("click", () => dialog.close(), { signal });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  }, { signal });
  return dialog;
}

// The page that lists the runs and views of the server.

import { element } from "/static/dom.js";
import { runs, views } from "./api.js";
import { fill } from "./page.js";

await fill(async () => {
  const items = (await runs()).map((run) => element("li", {},
    element("a", { href: `/runs/${encodeURIComponent(run.name)}` }, run.name),
    element("p", {}, `Task: ${run.task}`)));
  const seen = (await views()).map((view) => element("li", {},
    element("a", { href: `/views/${encodeURIComponent(view.name)}` }, view.name),
    element("p", {}, `Attention of ${view.layers} layers, ${view.heads} heads`)));
  return [element("ul", { class: "runs" }, ...items, ...seen)];
});

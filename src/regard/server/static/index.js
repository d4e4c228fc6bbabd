// The page that lists the runs of the server.

import { runs } from "./api.js";
import { element, fill } from "./page.js";

await fill(async () => {
  const items = (await runs()).map((run) => element("li", {},
    element("a", { href: `/runs/${encodeURIComponent(run.name)}` }, run.name),
    element("p", {}, `Task: ${run.task}`)));
  return [element("ul", { class: "runs" }, ...items)];
});

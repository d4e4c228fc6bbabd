// The page of a saved view: the viewer, whose numbers the server computes.

import { element } from "/static/dom.js";
import { openRemote } from "/static/remote.js";
import { render } from "/static/viewer.js";
import { authorization, Refusal } from "./api.js";
import { fill } from "./page.js";

await fill(async () => {
  const base = `/api${location.pathname}`;
  const options = { headers: authorization() };
  const known = await fetch(`${base}/meta`, { ...options, method: "GET" });
  if (!known.ok) throw new Refusal(known.status, (await known.json()).error);
  const source = await openRemote(base, options);
  document.title = `${source.title} – regard`;
  const place = element("div");
  render(place, source);
  return [place];
});

// Opens a document and answers requests, for tests: asked.mjs FILE_JS DOCUMENT REQUESTS, a JSON list of method and
// arguments. It prints a JSON list of results, with numbers as base64 of float32.

import { readFileSync } from "node:fs";

const [code, path, requests] = process.argv.slice(2);
const { openDocument } = await import(code);
const source = openDocument(readFileSync(path));
const { title, notes, axes, layers } = source;
const results = [{ title, notes, axes, layers }];
for (const [method, ...given] of JSON.parse(requests)) {
  const began = performance.now();
  const answer = await source[method](...given);
  const { values, ...rest } = answer instanceof Float32Array ? { values: answer } : (answer ?? {});
  const text = values ? Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64") : null;
  results.push({ ...rest, values: text, milliseconds: performance.now() - began });
}
process.stdout.write(JSON.stringify(results));

// axe-core in a page. It is evaluated by the browser's debugger, which the page's policy doesn't bind, and so the policy stays as it is.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const GRAVE = ["serious", "critical"];

/** Returns what axe-core calls serious or critical, one line each. */
export async function seriousDefects(page) {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(source);
  const violations = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }).then((result) => result.violations));
  return violations.filter(({ impact }) => GRAVE.includes(impact)).flatMap(({ id, nodes }) => nodes.map(({ target, any, all, none }) =>
    `${id} at ${target.join(" ")}: ${[...any, ...all, ...none].map(({ message }) => message).join("; ")}`));
}

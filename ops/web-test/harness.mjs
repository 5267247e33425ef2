// What every test of the page needs: a server, browsers, and steps.

import assert from "node:assert/strict";
import { test } from "node:test";

export { Cable, Server, sleep } from "./server.mjs";
export { Visitor, launch } from "./visitor.mjs";

/**
 * Makes a function like `test` for steps of which each goes on where the one before it ended, so that after a failure the rest can say
 * nothing. After each, no page may have had an error.
 * @param {() => import("./visitor.mjs").Visitor[]} visitors
 */
export function steps(visitors) {
  let failed = false;
  return (name, run) => test(name, async (context) => {
    if (failed) return context.skip("an earlier step failed");
    failed = true;
    await run(context);
    for (const visitor of visitors()) assert.deepEqual(visitor.defects, []);
    failed = false;
  });
}

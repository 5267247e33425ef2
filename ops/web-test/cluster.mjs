// Two people on a cluster, through its proxy, while each of its nodes is killed once and comes back: what they write arrives once, in
// order. Argument of CLUSTER: the name of a cluster of `ops/cluster up 3 --proxy haproxy`, which this doesn't start.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { promisify } from "node:util";
import { Visitor, launch, steps } from "./harness.mjs";
import { ROOT } from "./server.mjs";

const NAME = process.env.CLUSTER ?? "default";
const TARGET = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
/** A node that is killed is replaced within this time. */
const REPLACED_MS = 30_000;

const cluster = JSON.parse(readFileSync(join(TARGET, "cluster", NAME, "cluster.json"), "utf8"));
const proxy = { url: `http://${cluster.proxy.http}` };
const run = (command, node) => promisify(execFile)(join(ROOT, "ops/cluster"), [command, node, "--name", NAME]);

let browser, ann, bob;
const step = steps(() => [ann, bob]);

before(async () => {
  browser = await launch();
  [ann, bob] = [await Visitor.come(browser, proxy), await Visitor.come(browser, proxy)];
});

after(() => browser?.close());

step("two people meet in a group, wherever their sockets are", async () => {
  const run_id = Date.now().toString(36);
  await ann.register(`ann-${run_id}`);
  await ann.begin("New group", "Three nodes");
  const hash = await ann.page.evaluate(() => location.hash);
  await bob.register(`bob-${run_id}`, hash);
  await bob.page.getByRole("button", { name: "Join the group" }).click();
  await ann.say("Before");
  await bob.sees("Before");
});

for (const { name } of cluster.nodes) {
  step(`${name} is killed while both write`, async (context) => {
    await ann.say(`${name}: ann before`);
    const killed = run("kill", name);
    await Promise.all([ann.say(`${name}: ann during`), bob.say(`${name}: bob during`)]);
    await killed;
    const from = Date.now();
    await ann.say(`${name}: ann after`);
    const all = ["ann before", "ann during", "ann after", "bob during"].map((text) => `${name}: ${text}`);
    for (const visitor of [ann, bob]) {
      for (const text of all) {
        await visitor.sees(text);
        await visitor.message(text).locator(".stage.sending").waitFor({ state: "detached" });
      }
    }
    const took = Date.now() - from;
    context.diagnostic(`both have everything after ${(took / 1000).toFixed(1)} s`);
    assert.ok(took < REPLACED_MS, `${took} ms`);
    const said = await Promise.all([ann, bob].map(({ page }) => page.locator(".entries .message .text").allTextContents()));
    assert.deepEqual(said[0], said[1], "both see the same, in the same order");
    assert.deepEqual(said[0].filter((text) => text.startsWith(`${name}: ann`)), all.slice(0, 3));
    assert.equal(said[0].filter((text) => text === `${name}: bob during`).length, 1);
    await run("start", name);
    await Promise.all([ann.online(), bob.online()]);
  });
}

// A conversation of 50,000 messages, scrolled through from the newest to the oldest: few nodes, little script in each frame, a flat heap.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { fill, register } from "./fill.mjs";
import { Server, Visitor, launch, steps } from "./harness.mjs";
import { Frames, Heap, quantile } from "./measure.mjs";

const COUNT = Number(process.env.HISTORY_MESSAGES ?? 50_000);
const NODES_MAX = 300;
/** Script on the page's main thread between two frames, without the layout that it forces: milliseconds of processor time. */
const SCRIPT_P99_MS = 4;
/** What the heap may have grown from a tenth of the way to its end. */
const GROWTH_MAX_BYTES = 3 * 1024 * 1024;

const server = new Server();
let browser, ann, group;
const step = steps(() => (ann ? [ann] : []));

before(async () => {
  await server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server.stop();
});

step(`${COUNT} messages are written`, async (context) => {
  const from = Date.now();
  group = await fill(browser, server, await register(server, "archivist"), { type: "group.create", name: "Archive" }, COUNT);
  context.diagnostic(`${Math.round(COUNT / ((Date.now() - from) / 1000))} messages a second`);
});

step("the newest are there at once", async () => {
  ann = await Visitor.come(browser, server);
  await ann.register("ann", `#group=${group}`);
  await ann.page.getByRole("button", { name: "Join the group" }).click();
  await ann.sees(`Line ${COUNT}`, false);
});

step("scrolling to the beginning shows every message, in few nodes, and keeps frames and heap small", async (context) => {
  const heap = await Heap.of(ann);
  const { x, y } = await middle(ann.page.locator(".scroller"));
  await ann.page.mouse.move(x, y);
  const frames = await Frames.record(ann, browser);
  const seen = [];
  let [most, early] = [0, 0];
  for (const until = Date.now() + 400_000; ; ) {
    await ann.page.mouse.wheel(0, -1500);
    const window = await ann.page.evaluate(look);
    most = Math.max(most, window.nodes);
    assert.ok(window.inOrder, `out of order: ${JSON.stringify(window)}`);
    if (window.first !== undefined) seen.push([window.first, window.last]);
    if (early === 0 && window.first < COUNT * 0.9) early = await heap.bytes();
    if (window.complete) break;
    assert.ok(Date.now() < until, `after ${Math.round((COUNT - window.first) / 1000)} thousand messages it takes too long`);
  }
  const measured = await frames.stop();
  const [script, forced] = [measured.map((frame) => frame.script), measured.map((frame) => frame.forced)];
  const late = await heap.bytes();
  const [median, p95, p99] = [0.5, 0.95, 0.99].map((at) => quantile(script, at));
  context.diagnostic(`${most} message nodes at most; script in ${script.length} frames: median ${median.toFixed(2)} ms, p95 ${p95.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, `
    + `most ${quantile(script, 1).toFixed(1)} ms; layout that it forces: p95 ${quantile(forced, 0.95).toFixed(2)} ms; heap ${(early / 2 ** 20).toFixed(1)} MiB after a tenth, ${(late / 2 ** 20).toFixed(1)} MiB at the end`);
  assert.deepEqual(missing(seen, COUNT), [], "messages that never were in the page");
  assert.ok(most <= NODES_MAX, `${most} message nodes`);
  assert.ok(script.length > 200, `only ${script.length} frames were seen`);
  assert.ok(p99 <= SCRIPT_P99_MS, `script takes ${p99} ms in one of a hundred frames`);
  assert.ok(late - early <= GROWTH_MAX_BYTES, `the heap grew from ${early} to ${late} bytes`);
});

step("the button leads back to the newest, and what is said then comes", async () => {
  await ann.page.getByRole("button", { name: "To the newest message" }).click();
  await ann.sees(`Line ${COUNT}`, false);
  await ann.say("Read it all");
  await ann.sees("Read it all");
  assert.ok((await ann.page.evaluate(look)).nodes <= NODES_MAX);
});

async function middle(locator) {
  const { x, y, width, height } = await locator.boundingBox();
  return { x: x + width / 2, y: y + height / 2 };
}

/** Runs in the page: what of the history is in it. */
function look() {
  const texts = [...document.querySelectorAll(".entries .message .text")].map((node) => /^Line (\d+)/.exec(node.textContent)?.[1]).filter(Boolean).map(Number);
  return {
    nodes: document.querySelectorAll(".entries .message").length,
    first: texts[0],
    last: texts.at(-1),
    inOrder: texts.every((text, at) => at === 0 || text === texts[at - 1] + 1),
    complete: texts[0] === 1 && document.querySelector(".scroller").scrollTop === 0,
  };
}

/** Returns the stretches of 1 to `count` that no window held. */
function missing(windows, count) {
  const holes = [];
  let upTo = 0;
  for (const [first, last] of [...windows].sort((a, b) => a[0] - b[0])) {
    if (first > upTo + 1) holes.push([upTo + 1, first - 1]);
    upTo = Math.max(upTo, last);
  }
  if (upTo < count) holes.push([upTo + 1, count]);
  return holes;
}

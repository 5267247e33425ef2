// The part of a log that the page holds: moved along, bounded, and attached to what is live only when it reaches that.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Excerpt } from "../excerpt.js";

const EPOCH = "00c0ffee00c0ffee";
const made = (seq, more = {}) => ({ event: "message", conversation: "1", epoch: EPOCH, seq, id: `e${seq}`, timestamp: seq, sender: { id: "8", name: "bob" }, content: `text ${seq}`, ...more });
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => made(from + at));
const page = (from, to, more = {}) => ({ epoch: EPOCH, events: range(from, to), complete: false, oldest_seq: 1, head: 1000, ...more });
const seqs = (excerpt) => [excerpt.entries[0]?.seq, excerpt.entries.at(-1)?.seq, excerpt.entries.length];

/** Holds 901 to 1000, the newest of a thousand. */
function newest() {
  const excerpt = new Excerpt(1000);
  excerpt.prepend(page(901, 1000));
  return excerpt;
}

test("scrolled up, it forgets the newest, and what is said then isn't put behind a hole", () => {
  const excerpt = newest();
  excerpt.prepend(page(801, 900));
  excerpt.dropNewest(120);
  assert.deepEqual([seqs(excerpt), excerpt.attached, excerpt.until, excerpt.from], [[801, 920, 120], false, 920, 801]);
  excerpt.take(made(1001));
  assert.deepEqual(seqs(excerpt), [801, 920, 120]);
});

test("scrolled down again, it becomes attached exactly when it reaches the position, and holds each message once", () => {
  const excerpt = newest();
  excerpt.dropNewest(20);
  excerpt.append(page(921, 980), 980, 1001);
  assert.deepEqual([seqs(excerpt), excerpt.attached], [[901, 980, 80], false]);
  // The page was read before 1001 came.
  excerpt.append(page(981, 1000, { complete: true }), 1000, 1001);
  assert.deepEqual([seqs(excerpt), excerpt.attached, excerpt.until], [[901, 1000, 100], false, 1000]);
  excerpt.append(page(1001, 1001, { complete: true, head: 1001 }), 1001, 1001);
  assert.deepEqual([seqs(excerpt), excerpt.attached], [[901, 1001, 101], true]);
  excerpt.take(made(1002));
  excerpt.append(page(1002, 1002), 1002, 1002);
  assert.deepEqual(seqs(excerpt), [901, 1002, 102]);
});

test("a page that knows more than has been heard doesn't go beyond the position", () => {
  const excerpt = newest();
  excerpt.dropNewest(20);
  excerpt.append(page(921, 1005, { head: 1005, complete: true }), 1005, 1000);
  assert.deepEqual([seqs(excerpt), excerpt.attached], [[901, 1000, 100], true]);
  excerpt.take(made(1001));
  assert.deepEqual(seqs(excerpt), [901, 1001, 101]);
});

test("a jump holds what is around the place, and knows whether something older exists", () => {
  const excerpt = newest();
  excerpt.replace(page(400, 599), 599, 1000);
  assert.deepEqual([seqs(excerpt), excerpt.attached, excerpt.complete], [[400, 599, 200], false, false]);
  excerpt.replace(page(1, 200), 200, 1000);
  assert.equal(excerpt.complete, true);
  excerpt.replace(page(31, 100, { oldest_seq: 31 }), 100, 1000);
  assert.equal(excerpt.complete, true, "retention removed what lies below");
  excerpt.replace(page(901, 1000), 1000, 1000);
  assert.deepEqual([excerpt.attached, excerpt.complete], [true, false]);
});

test("an excerpt that ends in events that aren't shown still goes on behind them", () => {
  const excerpt = newest();
  excerpt.dropNewest(20);
  const edits = [made(921, { event: "edited", target: "e905", target_seq: 905, content: "newer", edited_at: 5 }), made(922, { event: "renamed" })];
  excerpt.append({ ...page(1, 0), events: edits }, 922, 1000);
  assert.deepEqual([seqs(excerpt), excerpt.until, excerpt.attached], [[901, 920, 20], 922, false]);
});

test("an edit reaches a message that is held, and one that is fetched afterwards", () => {
  const excerpt = newest();
  assert.equal(excerpt.take(made(1001, { event: "edited", target: "e950", target_seq: 950, content: "newer", edited_at: 5 }))?.content, "newer");
  excerpt.take(made(1002, { event: "deleted", target: "e850", target_seq: 850 }));
  excerpt.prepend(page(801, 900));
  const of = (seq) => excerpt.entries.find((entry) => entry.seq === seq);
  assert.deepEqual([of(950).content, of(850).content, of(850).deleted], ["newer", "", true]);
});

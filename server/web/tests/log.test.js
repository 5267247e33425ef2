// The position algorithm: native.md, section 5.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Log, WAITING_MAX } from "../log.js";

const EPOCH = "00c0ffee00c0ffee";
const event = (seq, epoch = EPOCH) => ({ event: "message", conversation: "1", epoch, seq, id: String(seq), timestamp: seq, sender: { id: "7", name: "ann" } });
const seqs = (result) => result.applied.map(({ seq }) => seq);
const page = (events, more = {}) => ({ epoch: EPOCH, events, complete: true, oldest_seq: 1, head: events.at(-1)?.seq ?? 0, ...more });

test("the next event is applied, a seen one isn't", () => {
  const log = new Log(EPOCH, 4);
  assert.deepEqual(seqs(log.accept(event(5))), [5]);
  assert.deepEqual(seqs(log.accept(event(5))), []);
  assert.deepEqual(seqs(log.accept(event(3))), []);
  assert.equal(log.position, 5);
});

test("an event that overtook others waits for them", () => {
  const log = new Log(EPOCH, 0);
  assert.deepEqual(seqs(log.accept(event(3))), []);
  assert.equal(log.hole, true);
  assert.deepEqual(seqs(log.accept(event(1))), [1]);
  assert.deepEqual(seqs(log.accept(event(2))), [2, 3]);
  assert.equal(log.hole, false);
});

test("an event of another log says that everything is void", () => {
  const log = new Log(EPOCH, 4);
  assert.deepEqual(log.accept(event(5, "00000000deadbeef")), { applied: [], reset: true });
  assert.equal(log.position, 4);
  log.reset("00000000deadbeef", 9);
  assert.deepEqual(seqs(log.accept(event(10, "00000000deadbeef"))), [10]);
});

test("a page fills a hole, and what waited beyond follows", () => {
  const log = new Log(EPOCH, 2);
  log.accept(event(6));
  assert.deepEqual(seqs(log.acceptPage(page([event(3), event(4), event(5)], { complete: false, head: 6 }))), [3, 4, 5, 6]);
  assert.equal(log.hole, false);
});

test("a page that retention cut isn't a hole", () => {
  const log = new Log(EPOCH, 2);
  log.expect(9);
  assert.deepEqual(seqs(log.acceptPage(page([event(8), event(9)], { oldest_seq: 8 }))), [8, 9]);
  assert.equal(log.hole, false);
  const emptied = new Log(EPOCH, 2);
  emptied.expect(9);
  assert.deepEqual(seqs(emptied.acceptPage(page([], { oldest_seq: 10, head: 9 }))), []);
  assert.deepEqual([emptied.position, emptied.hole], [9, false]);
});

test("a hole of any size is known, what waits beyond it is bounded", () => {
  const log = new Log(EPOCH, 0);
  for (let seq = 2; seq < WAITING_MAX + 100; seq += 1) log.accept(event(seq));
  assert.equal(log.accept(event(1)).applied.length, WAITING_MAX + 1);
  assert.equal(log.position, WAITING_MAX + 1);
  assert.equal(log.hole, true);
});

test("any order and any repetition end in the same log", () => {
  let state = 12345;
  const random = () => (state = (state * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff;
  for (let round = 0; round < 300; round += 1) {
    const log = new Log(EPOCH, 0);
    const arriving = Array.from({ length: 20 }, (_, at) => event(at + 1));
    const all = [...arriving, ...arriving.filter(() => random() < 0.4)].sort(() => random() - 0.5);
    const applied = [];
    for (const one of all) {
      applied.push(...seqs(log.accept(one)));
      // A page may come at any moment.
      if (random() < 0.1) applied.push(...seqs(log.acceptPage(page(arriving.slice(log.position, log.position + 5), { complete: false, head: 20 }))));
    }
    assert.deepEqual(applied, Array.from({ length: 20 }, (_, at) => at + 1));
    assert.equal(log.hole, false);
  }
});

// What is shown of a conversation, from top to bottom.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Conversation } from "../conversation.js";
import { itemsOf } from "../items.js";

const EPOCH = "00c0ffee00c0ffee";
const [ANN, BOB] = [{ id: "7", name: "ann" }, { id: "8", name: "bob" }];
const NOON = new Date(2026, 10, 20, 12).getTime();
const MINUTE = 60_000;
const made = (seq, at_ms, more = {}) => ({ event: "message", conversation: "1", epoch: EPOCH, seq, id: `e${seq}`, timestamp: at_ms, sender: BOB, message_id: `m${seq}`, content: `text ${seq}`, ...more });
const mine = (event) => event.sender.id === ANN.id;

function conversation(events, more = {}) {
  const made = new Conversation({ id: "1", kind: "group", name: "Tea", created_at: 1, epoch: EPOCH, head: 0, role: "member", delivered: 0, read: 0, unread: 0, ...more }, mine);
  for (const event of events) {
    made.log.accept(event);
    made.apply(event);
  }
  return made;
}

test("messages of one sender within five minutes stand together, across nothing else", () => {
  const shown = itemsOf(conversation([made(1, NOON), made(2, NOON + MINUTE), made(3, NOON + 7 * MINUTE), made(4, NOON + 8 * MINUTE, { sender: ANN }),
    made(5, NOON + 9 * MINUTE), made(6, NOON + 9 * MINUTE, { event: "member_joined" }), made(7, NOON + 9 * MINUTE)]), []);
  const runs = shown.filter(({ kind }) => kind === "message").map(({ first, last }) => [first, last]);
  assert.deepEqual(runs, [[true, false], [false, true], [true, true], [true, true], [true, true], [true, true]]);
});

test("each local day has one heading", () => {
  const night = new Date(2026, 10, 21).getTime();
  const shown = itemsOf(conversation([made(1, NOON), made(2, night - 1), made(3, night), made(4, night + MINUTE)]), []);
  assert.deepEqual(shown.map(({ kind }) => kind), ["day", "message", "message", "day", "message", "message"]);
  assert.deepEqual(shown.filter(({ kind }) => kind === "day").map(({ at_ms }) => at_ms), [new Date(2026, 10, 20).getTime(), night]);
});

test("what is new begins at the first message of somebody else, once", () => {
  const tea = conversation([made(1, NOON), made(2, NOON, { sender: ANN }), made(3, NOON), made(4, NOON)]);
  tea.newFrom = 2;
  assert.deepEqual(itemsOf(tea, []).map(({ kind }) => kind), ["day", "message", "message", "new", "message", "message"]);
});

test("what is new has no mark while its beginning isn't held", () => {
  const tea = conversation([made(5, NOON), made(6, NOON)].map((event) => event), { head: 4 });
  tea.newFrom = 3;
  assert.equal(itemsOf(tea, []).some(({ kind }) => kind === "new"), false);
  tea.prepend({ epoch: EPOCH, events: [made(2, NOON), made(3, NOON), made(4, NOON)], complete: false, oldest_seq: 1, head: 6 });
  const shown = itemsOf(tea, []);
  assert.equal(shown[shown.findIndex(({ kind }) => kind === "new") + 1].entry?.seq, 3);
});

test("an unsent message is shown after the log, once, and only where the log reaches its end", () => {
  const pending = [{ message_id: "m2", conversation: "1", content: "hi", at_ms: NOON, stored: true }, { message_id: "m9", conversation: "1", content: "later", at_ms: NOON, error: "too fast" }];
  const tea = conversation([made(1, NOON), made(2, NOON, { sender: ANN })]);
  const shown = itemsOf(tea, pending).filter(({ kind }) => kind === "message");
  assert.deepEqual(shown.map(({ text, stage, error }) => [text, stage, error]), [["text 1", "", ""], ["text 2", "stored", ""], ["later", "failed", "too fast"]]);
  tea.excerpt.dropNewest(1);
  assert.deepEqual(itemsOf(tea, pending).filter(({ kind }) => kind === "message").map(({ text }) => text), ["text 1"]);
});

test("a message keeps its key from the outbox to the log", () => {
  const pending = [{ message_id: "m1", conversation: "1", content: "hi", at_ms: NOON }];
  const before = itemsOf(conversation([]), pending).find(({ kind }) => kind === "message");
  const after = itemsOf(conversation([made(1, NOON, { sender: ANN })]), []).find(({ kind }) => kind === "message");
  assert.equal(before.key, after.key);
});

test("in a chat the ticks follow the other one's pointers", () => {
  const chat = conversation([1, 2, 3].map((seq) => made(seq, NOON, { sender: ANN })), { kind: "direct" });
  chat.peer = { delivered: 2, read: 1 };
  assert.deepEqual(itemsOf(chat, []).filter(({ kind }) => kind === "message").map(({ stage }) => stage), ["read", "delivered", "stored"]);
});

// A conversation's window, unread count and edits.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Conversation } from "../conversation.js";

const EPOCH = "00c0ffee00c0ffee";
const [ANN, BOB] = [{ id: "7", name: "ann" }, { id: "8", name: "bob" }];
const info = (more = {}) => ({ id: "1", kind: "group", name: "Tea", created_at: 1, epoch: EPOCH, head: 10, role: "member", delivered: 8, read: 8, unread: 2, ...more });
const made = (seq, more = {}) => ({ event: "message", conversation: "1", epoch: EPOCH, seq, id: `e${seq}`, timestamp: seq, sender: BOB, content: `text ${seq}`, ...more });
const page = (events, more = {}) => ({ epoch: EPOCH, events, complete: false, oldest_seq: 1, head: 10, ...more });
const mine = (event) => event.sender.id === ANN.id;

test("unread counts others' messages, and replayed ones once", () => {
  const conversation = new Conversation(info(), mine);
  conversation.apply(made(11));
  conversation.apply(made(12, { sender: ANN }));
  conversation.apply(made(13, { event: "member_joined" }));
  assert.equal(conversation.unread, 3);
  // A welcome that knows 14 counts what is replayed up to there.
  conversation.learn(info({ head: 14, unread: 4 }));
  conversation.apply(made(14));
  assert.equal(conversation.unread, 4);
  conversation.apply(made(15));
  assert.equal(conversation.unread, 5);
  // An answer that was overtaken by 15.
  conversation.learn(info({ head: 14, unread: 4 }));
  assert.equal(conversation.unread, 5);
});

test("older pages are put before, until nothing is older", () => {
  const conversation = new Conversation(info(), mine);
  conversation.apply(made(11));
  assert.equal(conversation.prepend(page([made(8), made(9, { event: "member_joined" }), made(10)])), true);
  assert.deepEqual([conversation.excerpt.from, conversation.excerpt.complete], [8, false]);
  conversation.prepend(page([made(7), made(8)], { complete: true }));
  assert.deepEqual(conversation.entries.map(({ seq }) => seq), [7, 8, 9, 10, 11]);
  assert.equal(conversation.excerpt.complete, true);
  assert.equal(conversation.prepend(page([], { epoch: "00000000deadbeef" })), false);
});

test("an edit that overtook the page it belongs to isn't lost", () => {
  const conversation = new Conversation(info(), mine);
  conversation.apply(made(11, { event: "edited", target: "e9", target_seq: 9, content: "newer", edited_at: 50 }));
  conversation.apply(made(12, { event: "deleted", target: "e10", target_seq: 10 }));
  conversation.prepend(page([made(9, { content: "older", edited_at: 40 }), made(10)]));
  assert.deepEqual(conversation.entries.map(({ content, deleted }) => [content, deleted]), [["newer", undefined], ["", true]]);
  // A page that knows a later edit than we do wins.
  const other = new Conversation(info(), mine);
  other.apply(made(11, { event: "edited", target: "e9", target_seq: 9, content: "older", edited_at: 50 }));
  other.prepend(page([made(9, { content: "newest", edited_at: 60 })]));
  assert.equal(other.entries[0].content, "newest");
});

test("another log leaves nothing of the old one", () => {
  const conversation = new Conversation(info(), mine);
  conversation.apply(made(11));
  conversation.restart("00000000deadbeef", 3);
  assert.deepEqual([conversation.entries.length, conversation.excerpt.from, conversation.read, conversation.log.position], [0, 4, 0, 3]);
});

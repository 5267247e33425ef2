// The client against a server that says exactly what a test wants: what the real one does only now and then.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

const EPOCH = "00c0ffee00c0ffee";
const [ANN, BOB] = [{ id: "7", name: "ann", guest: false }, { id: "8", name: "bob" }];

class Store extends Map {
  get length() {
    return this.size;
  }
  key(index) {
    return [...this.keys()][index] ?? null;
  }
  getItem(key) {
    return this.get(key) ?? null;
  }
  setItem(key, value) {
    this.set(key, value);
  }
  removeItem(key) {
    this.delete(key);
  }
}

/** The server's end of a socket, in the shape of a browser's. */
class Socket {
  static OPEN = 1;
  static made = [];
  readyState = 0;
  frames = [];
  closed = false;
  constructor(url, protocol) {
    assert.equal(protocol, "chinwag.v1");
    Socket.made.push(this);
    setImmediate(() => {
      this.readyState = 1;
      this.onopen?.();
    });
  }
  send(text) {
    this.frames.push(JSON.parse(text));
  }
  close() {
    this.readyState = 3;
    this.closed = true;
  }
  /** Waits for the next frame of a type. */
  async frame(type) {
    for (let tries = 0; tries < 400; tries += 1) {
      const at = this.frames.findIndex((frame) => frame.type === type);
      if (at >= 0) return this.frames.splice(at, 1)[0];
      await sleep(5);
    }
    throw new Error(`no ${type} came, but ${JSON.stringify(this.frames)}`);
  }
  say(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
  reply(frame, result) {
    this.say({ id: frame.id, result });
  }
  refuse(frame, error) {
    this.say({ id: frame.id, error: { message: error.code, retryable: false, ...error } });
  }
  drop(code) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

globalThis.WebSocket = Socket;
globalThis.localStorage = new Store();
globalThis.sessionStorage = new Store();
const { Client } = await import("../protocol.js");

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const info = (head, more = {}) => ({ id: "1", kind: "group", name: "Tea", created_at: 1, epoch: EPOCH, head, role: "member", delivered: head, read: head, unread: 0, members: 2,
  last: message(head), ...more });
const message = (seq, more = {}) => ({ event: "message", conversation: "1", epoch: EPOCH, seq, id: `e${seq}`, timestamp: 1000 + seq, sender: BOB, content: `text ${seq}`, ...more });
const texts = (client) => client.conversations.get("1").entries.map(({ content }) => content);
const nth = async (index) => {
  for (let tries = 0; tries < 400 && !Socket.made[index]; tries += 1) await sleep(5);
  return Socket.made[index];
};

/** Lets a client in. */
async function welcome(socket, conversations, resumed = []) {
  const hello = await socket.frame("hello");
  socket.reply(hello, { user: ANN, session: "s", protocol: 1, features: [], server_time: Date.now(), epoch: EPOCH, limits: { content_chars: 4096, page: 200, positions: 500 }, conversations, resumed });
  await sleep(1);
  return hello;
}

let tokens, changes, client;

beforeEach(() => {
  client?.stop();
  Socket.made = [];
  localStorage.clear();
  tokens = ["first", "second"];
  changes = [];
  const login = { name: "ann", guest: false, credentials: async () => ({ token: tokens[0] }), refresh: async () => void tokens.shift() };
  client = new Client("ws://test/ws", login, (change) => changes.push(change));
  client.start();
});

test("events are applied once and in order, whatever overtakes what", async () => {
  const socket = await nth(0);
  const hello = await welcome(socket, [info(10)]);
  assert.deepEqual([hello.protocol, hello.token, hello.positions], [1, "first", {}]);
  for (const seq of [11, 13, 13, 12, 11, 14]) socket.say(message(seq));
  assert.deepEqual(texts(client), ["text 11", "text 12", "text 13", "text 14"]);
  assert.equal(client.conversations.get("1").unread, 4);
  const delivered = await socket.frame("delivered");
  assert.equal(delivered.seq, 14);
});

test("a hole that stays is fetched", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10)]);
  socket.say(message(13));
  const asked = await socket.frame("history");
  assert.deepEqual([asked.after, asked.conversation], [10, "1"]);
  socket.reply(asked, { conversation: "1", epoch: EPOCH, events: [message(11), message(12)], complete: false, oldest_seq: 1, head: 13 });
  await sleep(1);
  assert.deepEqual(texts(client), ["text 11", "text 12", "text 13"]);
});

test("rooms that can't be listened to now are asked for again, and the others don't wait", async () => {
  const room = (id, more = {}) => ({ ...info(10), id, kind: "room", name: `room ${id}`, role: undefined, last: message(10, { conversation: id }), ...more });
  const listening = (id, head) => ({ conversation: room(id, { head }), listeners: 1, names: ["ann"],
    resumed: { conversation: id, outcome: "replayed", epoch: EPOCH, head, from: 11, to: head } });
  const socket = await nth(0);
  await welcome(socket, []);
  for (const id of ["5", "6"]) {
    const listened = client.listen({ conversation: id });
    socket.reply(await socket.frame("room.listen"), { conversation: room(id), listeners: 1, names: ["ann"] });
    await listened;
  }
  client.send(client.conversations.get("5"), "unsent");
  await socket.frame("send");
  socket.drop(4001);
  const next = await nth(1);
  await welcome(next, []);
  const first = await next.frame("room.listen");
  assert.equal(first.conversation, "5");
  next.refuse(first, { code: "rate_limited", retryable: true, retry_after_ms: 60 });
  const second = await next.frame("room.listen");
  assert.equal(second.conversation, "6");
  next.reply(second, listening("6", 10));
  const again = await next.frame("room.listen");
  assert.deepEqual([again.conversation, again.position], ["5", { epoch: EPOCH, seq: 10 }]);
  next.refuse(again, { code: "unavailable", retryable: true, retry_after_ms: 20 });
  const third = await next.frame("room.listen");
  assert.deepEqual(next.frames.filter(({ type }) => type === "send"), [], "the room would refuse it");
  next.reply(third, listening("5", 11));
  next.say(message(11, { conversation: "5" }));
  assert.deepEqual(client.conversations.get("5").entries.map(({ seq }) => seq), [11]);
  assert.equal((await next.frame("send")).content, "unsent");
  client.stop();
});

test("pages and positions that the server can't take now are said again", async () => {
  const socket = await nth(0);
  const hello = await socket.frame("hello");
  const welcomed = { user: ANN, session: "s", protocol: 1, features: [], server_time: Date.now(), epoch: EPOCH, limits: { positions: 1 }, resumed: [] };
  const listed = ["1", "2"].map((id) => info(10, { id, name: id, last: undefined }));
  socket.reply(hello, { ...welcomed, conversations: listed });
  await sleep(1);
  socket.drop(4001);
  const next = await nth(1);
  next.reply(await next.frame("hello"), { ...welcomed, conversations: [listed[0]], next: "a" });
  for (const code of ["rate_limited", "unavailable"]) next.refuse(await next.frame("conversations"), { code, retryable: true, retry_after_ms: 5 });
  const page = await next.frame("conversations");
  assert.equal(page.after, "a");
  next.reply(page, { conversations: [listed[1]] });
  next.refuse(await next.frame("resume"), { code: "rate_limited", retryable: true, retry_after_ms: 5 });
  const resume = await next.frame("resume");
  assert.deepEqual(resume.positions, { 2: { epoch: EPOCH, seq: 10 } });
  next.reply(resume, { resumed: [{ conversation: "2", outcome: "gap", epoch: EPOCH, head: 12, from: 11, to: 12 }] });
  assert.equal((await next.frame("history")).conversation, "2");
  assert.deepEqual([...client.conversations.keys()], ["1", "2"]);
  client.stop();
});

test("what waits for a conversation that isn't listed yet is kept, and sent when it is", async () => {
  const waiting = { message_id: "019a0000-0000-7000-8000-000000000001", conversation: "2", content: "kept", at_ms: 1 };
  localStorage.setItem(`chinwag.outbox.7.${waiting.message_id}`, JSON.stringify(waiting));
  const socket = await nth(0);
  const hello = await socket.frame("hello");
  socket.reply(hello, { user: ANN, session: "s", protocol: 1, features: [], server_time: Date.now(), epoch: EPOCH, limits: {}, conversations: [info(10)], resumed: [], next: "a" });
  const page = await socket.frame("conversations");
  // Another tab writes there meanwhile.
  client.send({ id: "2" }, "too");
  await sleep(30);
  assert.deepEqual(socket.frames.filter(({ type }) => type !== "delivered"), [], "nothing is asked of a conversation that may be on the next page");
  socket.reply(page, { conversations: [info(3, { id: "2" })] });
  for (const content of ["kept", "too"]) {
    const sent = await socket.frame("send");
    assert.deepEqual([sent.conversation, sent.content], ["2", content]);
    socket.refuse(sent, { code: "spam" });
  }
  await sleep(1);
  assert.deepEqual(client.outbox.of("2").map(({ error }) => error), ["spam", "spam"]);
  client.stop();
});

test("what is refused in a conversation that isn't listed fails; only what is gone is given up", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10)]);
  client.send({ id: "2" }, "full");
  socket.refuse(await socket.frame("conversation"), { code: "not_found" });
  socket.refuse(await socket.frame("room.listen"), { code: "too_many" });
  await sleep(1);
  assert.deepEqual(client.outbox.of("2").map(({ error }) => error), ["too_many"]);
  client.send({ id: "3" }, "joined");
  const asked = await socket.frame("conversation");
  socket.reply(asked, { conversation: info(3, { id: "3" }) });
  assert.equal((await socket.frame("send")).conversation, "3");
  client.send({ id: "4" }, "gone");
  socket.refuse(await socket.frame("conversation"), { code: "not_found" });
  socket.refuse(await socket.frame("room.listen"), { code: "not_found" });
  await sleep(1);
  assert.deepEqual([client.outbox.of("4"), changes.filter(({ type }) => type === "notice").length], [[], 1]);
  client.stop();
});

test("a reply that overtakes an event: the message is shown all the time, and once", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10)]);
  const conversation = client.conversations.get("1");
  client.send(conversation, " hi ");
  const sent = await socket.frame("send");
  assert.deepEqual([sent.content, sent.conversation], ["hi", "1"]);
  assert.equal(client.outbox.waiting, 1);
  socket.reply(sent, { conversation: "1", epoch: EPOCH, seq: 12, id: "e12", timestamp: 5, duplicate: false });
  await sleep(1);
  assert.deepEqual([texts(client), client.outbox.of("1").length, client.outbox.waiting], [[], 1, 0]);
  socket.say(message(11));
  assert.deepEqual([texts(client), client.outbox.size, localStorage.size], [["text 11", "hi"], 0, 0]);
  assert.equal(conversation.unread, 1);
});

test("a message without an answer is sent again on the next socket, with the same id and after the positions", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10)]);
  client.send(client.conversations.get("1"), "one");
  client.send(client.conversations.get("1"), "two");
  const first = await socket.frame("send");
  assert.deepEqual(socket.frames.filter(({ type }) => type === "send"), [], "one at a time, or a refusal would change the order");
  socket.say(message(11));
  socket.drop(4001);
  const next = await nth(1);
  const hello = await welcome(next, [info(12)], [{ conversation: "1", outcome: "replayed", epoch: EPOCH, head: 12, from: 12, to: 12 }]);
  assert.deepEqual(hello.positions, { 1: { epoch: EPOCH, seq: 11 } });
  const again = await next.frame("send");
  assert.equal(again.message_id, first.message_id);
  // It had got through: the replay and the answer both say so.
  next.say(message(12, { sender: ANN, message_id: first.message_id, content: "one" }));
  next.reply(again, { conversation: "1", epoch: EPOCH, seq: 12, id: "e12", timestamp: 5, duplicate: true });
  const second = await next.frame("send");
  next.reply(second, { conversation: "1", epoch: EPOCH, seq: 13, id: "e13", timestamp: 5, duplicate: false });
  await sleep(1);
  assert.deepEqual([texts(client), client.outbox.size], [["text 11", "one", "two"], 0]);
});

test("a replay that comes before the message is sent again makes that needless", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10)]);
  client.send(client.conversations.get("1"), "one");
  const sent = await socket.frame("send");
  socket.drop(1001);
  const next = await nth(1);
  await welcome(next, [info(11)], [{ conversation: "1", outcome: "replayed", epoch: EPOCH, head: 11, from: 11, to: 11 }]);
  next.say(message(11, { sender: ANN, message_id: sent.message_id, content: "one" }));
  await sleep(20);
  assert.deepEqual([texts(client), client.outbox.size], [["one"], 0]);
});

test("what the server asks to repeat is repeated, what it refuses is shown as failed, and the rest goes on", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10)]);
  const conversation = client.conversations.get("1");
  client.send(conversation, "busy");
  client.send(conversation, "spam");
  client.send(conversation, "fine");
  const first = await socket.frame("send");
  socket.refuse(first, { code: "rate_limited", retryable: true, retry_after_ms: 20 });
  const again = await socket.frame("send");
  assert.deepEqual([again.message_id, again.content], [first.message_id, "busy"]);
  socket.reply(again, { conversation: "1", epoch: EPOCH, seq: 11, id: "e11", timestamp: 5, duplicate: false });
  const spam = await socket.frame("send");
  socket.refuse(spam, { code: "spam" });
  const fine = await socket.frame("send");
  socket.reply(fine, { conversation: "1", epoch: EPOCH, seq: 12, id: "e12", timestamp: 5, duplicate: false });
  await sleep(1);
  assert.deepEqual([texts(client), client.outbox.of("1").map(({ content, error }) => [content, error])], [["busy", "fine"], [["spam", "spam"]]]);
  client.resend(conversation, spam.message_id);
  assert.notEqual((await socket.frame("send")).message_id, spam.message_id);
});

test("a gap is paged from history, and live events wait for it", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10)]);
  socket.say({ event: "gap", conversation: "1", epoch: EPOCH, from: 11, to: 13 });
  socket.say(message(14));
  const first = await socket.frame("history");
  socket.reply(first, { conversation: "1", epoch: EPOCH, events: [message(11)], complete: false, oldest_seq: 1, head: 14 });
  const second = await socket.frame("history");
  assert.equal(second.after, 11);
  socket.reply(second, { conversation: "1", epoch: EPOCH, events: [message(12), message(13)], complete: false, oldest_seq: 1, head: 14 });
  await sleep(1);
  assert.deepEqual(texts(client), ["text 11", "text 12", "text 13", "text 14"]);
});

test("a gap too large to fill starts the window anew at its end", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10)]);
  socket.say(message(11));
  socket.say({ event: "gap", conversation: "1", epoch: EPOCH, from: 12, to: 9000 });
  socket.say(message(9001));
  const asked = await socket.frame("conversation");
  socket.reply(asked, { conversation: info(9001, { read: 11, unread: 8990 }) });
  await sleep(1);
  const conversation = client.conversations.get("1");
  assert.deepEqual([texts(client), conversation.excerpt.from, conversation.excerpt.complete, conversation.unread], [["text 9001"], 9001, false, 8990]);
});

test("reset, gone and a membership that ended while away", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10), info(5, { id: "2", last: undefined }), info(6, { id: "3", last: undefined })]);
  socket.say(message(11));
  socket.drop(4002);
  const next = await nth(1);
  const other = "00000000deadbeef";
  await welcome(next, [info(3, { epoch: other, last: undefined })], [{ conversation: "1", outcome: "reset", epoch: other, head: 3 }, { conversation: "2", outcome: "gone" }]);
  await sleep(1);
  assert.deepEqual([...client.conversations.keys()], ["1"]);
  assert.deepEqual([texts(client), client.positions()], [[], { 1: { epoch: other, seq: 3 } }]);
});

test("a drained node is left only when the next one has welcomed us", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10)]);
  socket.say({ event: "drain", reconnect_after_ms: 20 });
  const next = await nth(1);
  const hello = await next.frame("hello");
  assert.equal(socket.closed, false);
  // What the old node still says counts, and isn't repeated by the new one.
  socket.say(message(11));
  assert.equal(client.state, "online");
  next.reply(hello, { user: ANN, session: "t", protocol: 1, features: [], server_time: Date.now(), epoch: EPOCH, limits: {}, conversations: [info(11)],
    resumed: [{ conversation: "1", outcome: "replayed", epoch: EPOCH, head: 11, from: 11, to: 11 }] });
  await sleep(1);
  next.say(message(11));
  next.say(message(12));
  assert.equal(socket.closed, true);
  assert.deepEqual([texts(client), client.state, Socket.made.length], [["text 11", "text 12"], "online", 2]);
});

test("a token that ran out is changed; a log-out elsewhere ends it", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10)]);
  socket.drop(4201);
  const next = await nth(1);
  assert.equal((await welcome(next, [info(10)])).token, "second");
  next.drop(4202);
  assert.equal(client.state, "ended");
  assert.match(changes.at(-1).text, /logged out/);
});

test("a hello that stays refused asks for a log-in instead of asking for ever", async () => {
  const socket = await nth(0);
  socket.refuse(await socket.frame("hello"), { code: "unauthorized" });
  const next = await nth(1);
  const hello = await next.frame("hello");
  assert.equal(hello.token, "second");
  next.refuse(hello, { code: "unauthorized" });
  await sleep(1);
  assert.deepEqual([client.state, changes.at(-1).type], ["ended", "ended"]);
});

test("a change whose answer is lost is asked for again under the same id", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10)]);
  const created = client.createGroup("Biscuits");
  const asked = await socket.frame("group.create");
  socket.drop(4001);
  const next = await nth(1);
  await welcome(next, [info(10)]);
  const again = await next.frame("group.create");
  assert.equal(again.id, asked.id);
  next.reply(again, { conversation: { ...info(1), id: "9", name: "Biscuits" }, created: false });
  assert.equal((await created).title, "Biscuits");
  client.stop();
});

test("display names are asked for once, many at a time, and shown when they come", async () => {
  const socket = await nth(0);
  await welcome(socket, [info(10)]);
  const [cleo, gone] = [{ id: "9", name: "cleo" }, { id: "10", name: "gone" }];
  for (let round = 0; round < 3; round += 1) assert.deepEqual([BOB, cleo, gone].map((who) => client.nameOf(who)), ["bob", "cleo", "gone"]);
  const asked = await socket.frame("users");
  assert.deepEqual(asked.ids, ["8", "9", "10"]);
  changes.length = 0;
  socket.reply(asked, { users: [{ id: "8", name: "bob", guest: false, display_name: "Bob" }, { id: "9", name: "cleo", guest: false }] });
  await sleep(1);
  assert.deepEqual(changes.map(({ type }) => type), ["conversations"]);
  assert.deepEqual([BOB, cleo, gone].map((who) => client.nameOf(who)), ["Bob", "cleo", "gone"]);
  await sleep(150);
  assert.deepEqual(socket.frames.filter(({ type }) => type === "users"), []);
  client.stop();
});

// The outbox, and the ids that make sending again harmless.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MessageIds } from "../ids.js";
import { OUTBOX_MAX, Outbox } from "../outbox.js";

/** A storage as browsers have it. */
class Store {
  #map = new Map();
  get length() {
    return this.#map.size;
  }
  key(index) {
    return [...this.#map.keys()][index] ?? null;
  }
  getItem(key) {
    return this.#map.get(key) ?? null;
  }
  setItem(key, value) {
    this.#map.set(key, value);
  }
  removeItem(key) {
    this.#map.delete(key);
  }
}

const ids = new MessageIds(() => 1_795_327_200_000);
const item = (conversation, content) => ({ message_id: ids.next(), conversation, content, at_ms: 1 });

test("what isn't acknowledged is there after a reload, in the order it was written", () => {
  const store = new Store();
  const outbox = new Outbox(store, "7");
  const [first, second, elsewhere] = [item("1", "one"), item("1", "two"), item("2", "three")];
  for (const one of [first, second, elsewhere]) outbox.add(one);
  const again = new Outbox(store, "7");
  assert.deepEqual(again.of("1"), [first, second]);
  assert.deepEqual(again.conversations(), ["1", "2"]);
  assert.equal(again.next("1").message_id, first.message_id);
  assert.equal(new Outbox(store, "8").size, 0);
});

test("a stored message is shown until the log has come that far, but neither sent nor kept", () => {
  const store = new Store();
  const outbox = new Outbox(store, "7");
  const one = item("1", "one");
  outbox.add(one);
  outbox.stored(one.message_id);
  assert.deepEqual([outbox.next("1"), outbox.waiting, outbox.of("1").length], [undefined, 0, 1]);
  assert.equal(new Outbox(store, "7").size, 0);
  outbox.remove(one.message_id);
  assert.equal(outbox.size, 0);
});

test("a refused message lets the next one go", () => {
  const outbox = new Outbox(new Store(), "7");
  const [first, second] = [item("1", "one"), item("1", "two")];
  outbox.add(first);
  outbox.add(second);
  outbox.fail(first.message_id, "too fast");
  assert.deepEqual([outbox.next("1").content, outbox.waiting, outbox.of("1")[0].error], ["two", 1, "too fast"]);
});

test("two tabs don't overwrite each other", () => {
  const store = new Store();
  const [here, there] = [new Outbox(store, "7"), new Outbox(store, "7")];
  const [one, two] = [item("1", "one"), item("1", "two")];
  here.add(one);
  there.add(two);
  here.stored(one.message_id);
  assert.deepEqual(new Outbox(store, "7").of("1"), [two]);
});

test("it is bounded, and survives a storage that refuses or holds nonsense", () => {
  const store = new Store();
  store.setItem("chinwag.outbox.7.x", "{");
  store.setItem("chinwag.outbox.7.y", "{\"message_id\":1}");
  store.setItem = () => {
    throw new Error("full");
  };
  const outbox = new Outbox(store, "7");
  for (let at = 0; at < OUTBOX_MAX; at += 1) assert.equal(outbox.add(item("1", "x")), true);
  assert.equal(outbox.add(item("1", "x")), false);
});

test("message ids are UUIDv7 in ascending order, whatever the clock does", () => {
  let now = 1_795_327_200_000;
  const made = new MessageIds(() => now);
  let before = "";
  for (let at = 0; at < 20_000; at += 1) {
    if (at % 3000 === 0) now += at % 2 ? 1 : -50;
    const id = made.next();
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.ok(id > before, `${id} after ${before}`);
    before = id;
  }
  const at_ms = Number.parseInt(new MessageIds(() => now).next().replace("-", "").slice(0, 12), 16);
  assert.equal(at_ms, now);
});

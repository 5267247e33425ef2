// The outbox, and the ids that make sending again harmless.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MessageIds } from "../ids.js";
import { OUTBOX_MAX, Outbox } from "../outbox.js";
import { StorageShelf } from "../shelf.js";

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
const opened = async (store, share) => {
  const outbox = new Outbox(new StorageShelf(store, "7"), share);
  await outbox.load();
  return outbox;
};

test("what isn't acknowledged is there after a reload, in the order it was written", async () => {
  const store = new Store();
  const outbox = await opened(store);
  const [first, second, elsewhere] = [item("1", "one"), item("1", "two"), item("2", "three")];
  for (const one of [second, first, elsewhere]) outbox.add(one);
  const again = await opened(store);
  assert.deepEqual(again.of("1"), [first, second]);
  assert.deepEqual(again.conversations(), ["1", "2"]);
  assert.equal(again.next("1").message_id, first.message_id);
  const other = new Outbox(new StorageShelf(store, "8"));
  await other.load();
  assert.equal(other.size, 0);
});

test("a stored message is shown until the log has come that far, but neither sent nor kept", async () => {
  const store = new Store();
  const outbox = await opened(store);
  const one = item("1", "one");
  outbox.add(one);
  await outbox.stored(one.message_id);
  assert.deepEqual([outbox.next("1"), outbox.waiting, outbox.of("1").length], [undefined, 0, 1]);
  assert.equal((await opened(store)).size, 0);
  outbox.remove(one.message_id);
  assert.equal(outbox.size, 0);
});

test("a message that is stored before it is on the shelf doesn't stay there", async () => {
  const kept = new Map();
  let write;
  const slow = { all: async () => ({ items: [...kept.values()], whole: true }), remove: async (id) => void kept.delete(id),
    put: (one) => new Promise((resolve) => (write = () => resolve(kept.set(one.message_id, one).size > 0))) };
  const outbox = new Outbox(slow);
  const one = item("1", "one");
  outbox.add(one);
  const stored = outbox.stored(one.message_id);
  write();
  await stored;
  assert.equal(kept.size, 0);
});

test("a refused message lets the next one go", async () => {
  const store = new Store();
  const outbox = await opened(store);
  const [first, second] = [item("1", "one"), item("1", "two")];
  outbox.add(first);
  outbox.add(second);
  outbox.fail(first.message_id, "too fast");
  assert.deepEqual([outbox.next("1").content, outbox.waiting, outbox.of("1")[0].error], ["two", 1, "too fast"]);
  assert.equal((await opened(store)).of("1")[0].error, "too fast");
});

test("two tabs don't overwrite each other", async () => {
  const store = new Store();
  const [here, there] = [await opened(store), await opened(store)];
  const [one, two] = [item("1", "one"), item("1", "two")];
  here.add(one);
  there.add(two);
  await here.stored(one.message_id);
  assert.deepEqual((await opened(store)).of("1"), [two]);
});

test("two tabs show the same outbox, in the same order, until it is empty", async () => {
  const store = new Store();
  /** @type {Outbox[]} */
  const tabs = [];
  for (const at of [0, 1]) tabs.push(await opened(store, (said) => tabs[1 - at]?.heard(structuredClone(said))));
  const [one, two] = [item("1", "one"), item("1", "two")];
  tabs[1].add(one);
  tabs[0].add(two);
  for (const tab of tabs) assert.deepEqual(tab.of("1").map(({ content }) => content), ["one", "two"]);
  await tabs[0].stored(one.message_id);
  for (const tab of tabs) assert.deepEqual([tab.waiting, tab.next("1").content], [1, "two"]);
  tabs[1].remove(two.message_id);
  for (const tab of tabs) assert.deepEqual(tab.of("1").map(({ stored }) => stored), [true]);
});

test("what another tab has sent isn't sent again, even if this one didn't hear of it", async () => {
  const store = new Store();
  const here = await opened(store);
  const one = item("1", "one");
  here.add(one);
  await here.saved(one.message_id);
  const there = await opened(store);
  await there.stored(one.message_id);
  assert.equal(here.next("1").content, "one");
  await here.load();
  assert.deepEqual([here.next("1"), here.of("1").length], [undefined, 1]);
});

test("what never got on the shelf isn't taken for sent, because it isn't there", async () => {
  for (const store of [new Store(), null]) {
    if (store) store.setItem = () => {
      throw new Error("full");
    };
    const outbox = await opened(store);
    const one = item("1", "one");
    outbox.add(one);
    await outbox.saved(one.message_id);
    await outbox.load();
    assert.deepEqual([outbox.next("1")?.content, outbox.waiting], ["one", 1]);
  }
});

test("what another tab wrote and this one has never seen on the shelf is still to be sent", async () => {
  const store = new Store();
  const outbox = await opened(store);
  outbox.heard({ type: "put", item: item("1", "one") });
  await outbox.load();
  assert.equal(outbox.next("1").content, "one");
});

test("it is bounded, and survives a storage that refuses or holds nonsense", async () => {
  const store = new Store();
  store.setItem("chinwag.outbox.7.x", "{");
  store.setItem("chinwag.outbox.7.y", "{\"message_id\":1}");
  store.setItem = () => {
    throw new Error("full");
  };
  const outbox = await opened(store);
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

test("ids go back with a clock that was far ahead", () => {
  const real = 1_795_327_200_000;
  let now = real + 3_600_000;
  const made = new MessageIds(() => now);
  const at_ms = () => Number.parseInt(made.next().replace("-", "").slice(0, 12), 16);
  assert.equal(at_ms(), now);
  now = real;
  assert.equal(at_ms(), real);
  now = real - 60_000;
  assert.equal(at_ms(), real, "a minute is no reason to change the order");
});

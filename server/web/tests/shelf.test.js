// The database that unsent messages lie in: what happens to them when it goes away.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../outbox.js";
import { DatabaseShelf } from "../shelf.js";

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

/** As much of a browser's database as a shelf needs; a closed one throws, as browsers' do. */
class Database {
  rows = new Map();
  closed = false;
  full = false;
  transaction(_name, mode) {
    if (this.closed) throw new DOMException("The database connection is closing.", "InvalidStateError");
    const [transaction, request] = [{}, { result: undefined }];
    const fails = this.full && mode === "readwrite";
    transaction.objectStore = () => ({
      getAll: () => Object.assign(request, { result: [...this.rows.values()] }),
      put: (row) => (fails || this.rows.set(row.message_id, row), request),
      delete: ([, id]) => (this.rows.delete(id), request),
    });
    setImmediate(() => (fails ? transaction.onabort() : transaction.oncomplete()));
    return transaction;
  }
  close() {
    this.closed = true;
  }
}

globalThis.IDBKeyRange = { bound: () => null };

/** @param {Database | null} database null: it never answers */
const factory = (database) => ({ requests: [], open() {
  const request = { result: database };
  this.requests.push(request);
  if (database) setImmediate(() => request.onsuccess());
  return request;
} });
const item = (id) => ({ message_id: id, conversation: "1", content: id, at_ms: 1 });

test("a message that another tab took from the database counts as stored", async () => {
  const database = new Database();
  const outbox = new Outbox(new DatabaseShelf(factory(database), new Store(), "7"));
  outbox.add(item("a"));
  await outbox.saved("a");
  database.rows.clear();
  await outbox.load();
  assert.deepEqual([outbox.waiting, outbox.of("1")[0].stored], [0, true]);
});

test("a database that went away takes no message with it: they are still sent", async () => {
  const [database, store] = [new Database(), new Store()];
  const outbox = new Outbox(new DatabaseShelf(factory(database), store, "7"));
  outbox.add(item("a"));
  await outbox.saved("a");
  // A newer page, or site data cleared.
  database.close();
  await outbox.load();
  outbox.add(item("b"));
  await outbox.saved("b");
  await outbox.load();
  assert.deepEqual([outbox.waiting, outbox.next("1").message_id, store.size], [2, "a", 1]);
});

test("what can't be moved into the database stays where it is", async () => {
  const [database, store] = [new Database(), new Store()];
  store.setItem("chinwag.outbox.7.a", JSON.stringify(item("a")));
  const shelf = new DatabaseShelf(factory(database), store, "7");
  database.full = true;
  assert.equal((await shelf.all()).items.length, 1);
  assert.deepEqual([database.rows.size, store.size], [0, 1]);
  database.full = false;
  assert.equal((await shelf.all()).items.length, 1);
  assert.deepEqual([database.rows.size, store.size], [1, 0]);
});

test("a full database and a full storage keep nothing, and say so", async () => {
  const [database, store] = [new Database(), new Store()];
  store.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  database.full = true;
  const shelf = new DatabaseShelf(factory(database), store, "7");
  assert.equal(await shelf.put(item("a")), false);
  const outbox = new Outbox(shelf);
  outbox.add(item("b"));
  await outbox.saved("b");
  await outbox.load();
  assert.equal(outbox.waiting, 1);
});

test("a database that never opens is done without after three seconds, and closed should it open then", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const [silent, store, late] = [factory(null), new Store(), new Database()];
  const shelf = new DatabaseShelf(silent, store, "7");
  let kept = null;
  const put = shelf.put(item("a")).then((answer) => (kept = answer));
  context.mock.timers.tick(2999);
  await new Promise(setImmediate);
  assert.equal(kept, null);
  context.mock.timers.tick(1);
  await put;
  assert.deepEqual([kept, store.size, (await shelf.all()).items.length], [true, 1, 1]);
  silent.requests[0].result = late;
  silent.requests[0].onsuccess();
  assert.equal(late.closed, true);
});

// @ts-check
// Messages that the server hasn't acknowledged yet: in memory, and on a shelf so that a closed tab keeps them. All tabs of an account
// show the same outbox: each tells the others what it adds and takes away. Knows no socket.

/**
 * @typedef {import("./shelf.js").Pending} Pending
 * @typedef {import("./shelf.js").Shelf} Shelf
 * @typedef {{type: "put", item: Pending} | {type: "stored" | "removed", message_id: string}} Shared what tabs tell each other
 */

/** Messages kept at most; beyond that the page refuses to write more. */
export const OUTBOX_MAX = 500;

/** One user's unacknowledged messages, oldest first. */
export class Outbox {
  /** @type {Map<string, Pending>} */
  #items = new Map();
  #shelf;
  #share;
  /** Not on the shelf yet. @type {Map<string, Promise<void>>} */
  #saving = new Map();
  /** Known to have been on the shelf: only what was there can have been taken from it by another tab. @type {Set<string>} */
  #shelved = new Set();
  /** Stored or given up here, which an answer of the shelf may not know yet. @type {Set<string>} */
  #done = new Set();

  /** @param {Shelf} shelf @param {(said: Shared) => void} share tells the other tabs */
  constructor(shelf, share = () => {}) {
    this.#shelf = shelf;
    this.#share = share;
  }

  get size() {
    return this.#items.size;
  }

  /** How many will still be sent by themselves. */
  get waiting() {
    let count = 0;
    for (const item of this.#items.values()) if (unsent(item)) count += 1;
    return count;
  }

  /** @param {string} message_id */
  has(message_id) {
    return this.#items.has(message_id);
  }

  /**
   * Takes what is on the shelf: what an earlier page left, and what other tabs have written or sent meanwhile.
   * @returns {Promise<void>}
   */
  async load() {
    // What is put on the shelf while it is read may be missing in the answer.
    const before = [...this.#items.values()].filter(({ message_id }) => this.#shelved.has(message_id) && !this.#saving.has(message_id));
    const found = await this.#shelf.all().catch(() => null);
    if (!found) return;
    const there = new Set();
    for (const item of found.items) {
      there.add(item.message_id);
      if (this.#done.has(item.message_id)) continue;
      this.#shelved.add(item.message_id);
      if (!this.#items.has(item.message_id)) this.#items.set(item.message_id, item);
    }
    if (found.whole) {
      for (const item of before) if (!there.has(item.message_id)) item.stored = true;
    }
    this.#sort();
  }

  /** @param {Pending} item @returns {boolean} false: full */
  add(item) {
    if (this.#items.size >= OUTBOX_MAX) return false;
    this.#items.set(item.message_id, item);
    this.#save(item);
    return true;
  }

  /** Waits until a message is on the shelf. @param {string} message_id */
  async saved(message_id) {
    await this.#saving.get(message_id);
  }

  /** Returns the next message to send in a conversation. @param {string} conversation @returns {Pending | undefined} */
  next(conversation) {
    for (const item of this.#items.values()) if (item.conversation === conversation && unsent(item)) return item;
    return undefined;
  }

  /** Returns what is shown in a conversation. @param {string} conversation @returns {Pending[]} */
  of(conversation) {
    if (this.#items.size === 0) return [];
    return [...this.#items.values()].filter((item) => item.conversation === conversation);
  }

  /** Returns the conversations in which something is to be sent. @returns {string[]} */
  conversations() {
    return [...new Set([...this.#items.values()].filter(unsent).map((item) => item.conversation))];
  }

  /** Forgets a message: it is in the log, or given up. @param {string} message_id @returns {Pending | undefined} */
  remove(message_id) {
    const item = this.#items.get(message_id);
    this.#items.delete(message_id);
    this.#shelved.delete(message_id);
    if (!item || item.stored) return item;
    this.#share({ type: "removed", message_id });
    void this.#drop(message_id);
    return item;
  }

  /**
   * Says that the server has a message: it is shown only until the log has come that far.
   * @param {string} message_id @returns {Promise<void>} when no other tab can find it on the shelf any more
   */
  async stored(message_id) {
    const item = this.#items.get(message_id);
    if (item) item.stored = true;
    this.#share({ type: "stored", message_id });
    await this.#drop(message_id);
  }

  /** Says that the server won't take a message. @param {string} message_id @param {string} error for people */
  fail(message_id, error) {
    const item = this.#items.get(message_id);
    if (!item) return;
    item.error = error;
    this.#save(item);
  }

  /** Takes what another tab said. @param {Shared} said @returns {string | undefined} the conversation that it concerns */
  heard(said) {
    if (said.type === "put") {
      if (this.#done.has(said.item.message_id)) return undefined;
      this.#items.set(said.item.message_id, said.item);
      this.#sort();
      return said.item.conversation;
    }
    const item = this.#items.get(said.message_id);
    if (!item) return undefined;
    if (said.type === "stored") item.stored = true;
    else {
      this.#items.delete(said.message_id);
      this.#shelved.delete(said.message_id);
    }
    return item.conversation;
  }

  /** @param {Pending} item */
  #save(item) {
    this.#share({ type: "put", item });
    const { message_id } = item;
    const saving = this.#shelf.put(item).then((kept) => {
      if (kept && this.#items.has(message_id)) this.#shelved.add(message_id);
    }).finally(() => {
      if (this.#saving.get(message_id) === saving) this.#saving.delete(message_id);
    });
    this.#saving.set(message_id, saving);
  }

  /** @param {string} message_id */
  async #drop(message_id) {
    this.#done.add(message_id);
    if (this.#done.size > OUTBOX_MAX) this.#done.delete(this.#done.values().next().value ?? "");
    // A removal must not overtake the writing of what it removes.
    await this.#saving.get(message_id);
    this.#shelved.delete(message_id);
    await this.#shelf.remove(message_id);
  }

  #sort() {
    // UUIDv7 sort by the time they were made.
    this.#items = new Map([...this.#items].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

/** @param {Pending} item */
function unsent(item) {
  return !item.error && !item.stored;
}

// @ts-check
// Messages that the server hasn't acknowledged yet: in memory, and in a storage so that a reload keeps them.
// Each has an entry of its own, so that several tabs of one user don't overwrite each other; that two of them send the same
// message is harmless, because its id goes with it. Knows no socket.

/**
 * @typedef {{message_id: string, conversation: string, content: string, at_ms: number, error?: string, stored?: boolean}} Pending
 * @typedef {{length: number, key(index: number): string | null, getItem(key: string): string | null,
 *   setItem(key: string, value: string): void, removeItem(key: string): void}} Store
 */

/** Messages kept at most; beyond that the page refuses to write more. */
export const OUTBOX_MAX = 500;

/** One user's unacknowledged messages, oldest first. */
export class Outbox {
  /** @type {Map<string, Pending>} */
  #items = new Map();
  #store;
  #prefix;

  /** @param {Store | null} store @param {string} owner whose they are */
  constructor(store, owner) {
    this.#store = store;
    this.#prefix = `chinwag.outbox.${owner}.`;
    /** @type {Pending[]} */
    const found = [];
    for (let index = 0; store && index < store.length; index += 1) {
      const key = store.key(index);
      if (!key?.startsWith(this.#prefix)) continue;
      const item = parse(store.getItem(key));
      if (item) found.push(item);
    }
    // UUIDv7 sort by the time they were made.
    found.sort((a, b) => (a.message_id < b.message_id ? -1 : 1));
    for (const item of found) this.#items.set(item.message_id, item);
  }

  get size() {
    return this.#items.size;
  }

  /** How many will still be sent by themselves. */
  get waiting() {
    return [...this.#items.values()].filter(unsent).length;
  }

  /** @param {string} message_id */
  has(message_id) {
    return this.#items.has(message_id);
  }

  /** @param {Pending} item @returns {boolean} false: full */
  add(item) {
    if (this.#items.size >= OUTBOX_MAX) return false;
    this.#items.set(item.message_id, item);
    this.#save(item);
    return true;
  }

  /** Returns the next message to send in a conversation. @param {string} conversation @returns {Pending | undefined} */
  next(conversation) {
    for (const item of this.#items.values()) if (item.conversation === conversation && unsent(item)) return item;
    return undefined;
  }

  /** Returns what is shown in a conversation. @param {string} conversation @returns {Pending[]} */
  of(conversation) {
    return [...this.#items.values()].filter((item) => item.conversation === conversation);
  }

  /** Returns the conversations in which something is to be sent. @returns {string[]} */
  conversations() {
    return [...new Set([...this.#items.values()].filter(unsent).map((item) => item.conversation))];
  }

  /** Forgets a message: it is stored, or given up. @param {string} message_id @returns {Pending | undefined} */
  remove(message_id) {
    const item = this.#items.get(message_id);
    this.#items.delete(message_id);
    this.#store?.removeItem(this.#prefix + message_id);
    return item;
  }

  /** Says that the server has a message: it is kept only until the log has come that far. @param {string} message_id */
  stored(message_id) {
    const item = this.#items.get(message_id);
    if (!item) return;
    item.stored = true;
    this.#store?.removeItem(this.#prefix + message_id);
  }

  /** Says that the server won't take a message. @param {string} message_id @param {string} error for people */
  fail(message_id, error) {
    const item = this.#items.get(message_id);
    if (!item) return;
    item.error = error;
    this.#save(item);
  }

  /** @param {Pending} item */
  #save(item) {
    try {
      this.#store?.setItem(this.#prefix + item.message_id, JSON.stringify(item));
    } catch {
      // Full or forbidden: it stays in memory, which is all that can be had.
    }
  }
}

/** @param {Pending} item */
function unsent(item) {
  return !item.error && !item.stored;
}

/** @param {string | null} text @returns {Pending | undefined} */
function parse(text) {
  try {
    const item = JSON.parse(text ?? "");
    const whole = [item.message_id, item.conversation, item.content].every((field) => typeof field === "string");
    return whole ? item : undefined;
  } catch {
    return undefined;
  }
}

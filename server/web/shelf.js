// @ts-check
// Where unsent messages lie while nobody looks: in IndexedDB, or where that isn't allowed in a `Storage`. What is on a shelf is
// everybody's who opens one of the same owner; in what order they come off it is the outbox's business.

/**
 * @typedef {{message_id: string, conversation: string, content: string, at_ms: number, error?: string, stored?: boolean}} Pending
 * @typedef {{length: number, key(index: number): string | null, getItem(key: string): string | null,
 *   setItem(key: string, value: string): void, removeItem(key: string): void}} Store
 * @typedef {{all(): Promise<Pending[]>, put(item: Pending): Promise<void>, remove(message_id: string): Promise<void>}} Shelf
 *   a promise that is kept means that another page would see it
 */

const DATABASE = "chinwag";
const VERSION = 1;
const OUTBOX = "outbox";

/** Returns the best shelf that this browser has. @param {string} owner @returns {Shelf} */
export function shelfOf(owner) {
  const store = storage("localStorage");
  return globalThis.indexedDB ? new DatabaseShelf(indexedDB, store, owner) : new StorageShelf(store, owner);
}

/** Returns a browser's storage, which may be forbidden. @param {"localStorage" | "sessionStorage"} name @returns {Store | null} */
export function storage(name) {
  try {
    return globalThis[name] ?? null;
  } catch {
    return null;
  }
}

/** A shelf in a `Storage`, one entry per message, so that several tabs don't overwrite each other. */
export class StorageShelf {
  #store;
  #prefix;

  /** @param {Store | null} store @param {string} owner */
  constructor(store, owner) {
    this.#store = store;
    this.#prefix = `chinwag.outbox.${owner}.`;
  }

  async all() {
    /** @type {Pending[]} */
    const found = [];
    for (let index = 0; this.#store && index < this.#store.length; index += 1) {
      const key = this.#store.key(index);
      if (!key?.startsWith(this.#prefix)) continue;
      const item = parse(this.#store.getItem(key));
      if (item) found.push(item);
    }
    return found;
  }

  /** @param {Pending} item */
  async put(item) {
    this.putNow(item);
  }

  /** Done when it returns, which a page that is being closed needs. @param {Pending} item */
  putNow(item) {
    try {
      this.#store?.setItem(this.#prefix + item.message_id, JSON.stringify(item));
    } catch {
      // Full or forbidden: it stays in memory, which is all that can be had.
    }
  }

  /** @param {string} message_id */
  async remove(message_id) {
    this.#store?.removeItem(this.#prefix + message_id);
  }
}

/** A shelf in IndexedDB. Whatever goes wrong there, the messages are kept in the other shelf instead. */
export class DatabaseShelf {
  #opened;
  #owner;
  /** Where messages go that the database hasn't got when the page is closed, or can't take. */
  #other;
  /** On their way into the database. @type {Map<string, Pending>} */
  #writing = new Map();

  /** @param {IDBFactory} factory @param {Store | null} store @param {string} owner */
  constructor(factory, store, owner) {
    this.#owner = owner;
    this.#other = new StorageShelf(store, owner);
    this.#opened = open(factory);
    // Read by whoever awaits it.
    this.#opened.catch(() => {});
    globalThis.addEventListener?.("pagehide", () => {
      for (const item of this.#writing.values()) this.#other.putNow(item);
    });
  }

  async all() {
    const beside = await this.#other.all();
    /** @type {Pending[]} */
    let found = [];
    try {
      found = await this.#run("readonly", (outbox) => outbox.getAll(this.#range()));
    } catch {
      return beside;
    }
    const known = new Set(found.map(({ message_id }) => message_id));
    for (const item of beside) {
      if (!known.has(item.message_id)) await this.put(item);
      await this.#other.remove(item.message_id);
    }
    return [...found, ...beside.filter(({ message_id }) => !known.has(message_id))].filter(whole);
  }

  /** @param {Pending} item */
  async put(item) {
    this.#writing.set(item.message_id, item);
    try {
      await this.#run("readwrite", (outbox) => outbox.put({ ...item, owner: this.#owner }));
    } catch {
      this.#other.putNow(item);
    } finally {
      this.#writing.delete(item.message_id);
    }
  }

  /** @param {string} message_id */
  async remove(message_id) {
    await this.#other.remove(message_id);
    await this.#run("readwrite", (outbox) => outbox.delete([this.#owner, message_id])).catch(() => {});
  }

  #range() {
    // An array sorts after every string.
    return IDBKeyRange.bound([this.#owner], [this.#owner, []]);
  }

  /** @param {IDBTransactionMode} mode @param {(outbox: IDBObjectStore) => IDBRequest} act @returns {Promise<any>} */
  async #run(mode, act) {
    const database = await this.#opened;
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(OUTBOX, mode);
      const request = act(transaction.objectStore(OUTBOX));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
      // At once, not when the page next has time.
      transaction.commit?.();
    });
  }
}

/** @param {IDBFactory} factory @returns {Promise<IDBDatabase>} */
function open(factory) {
  return new Promise((resolve, reject) => {
    const request = factory.open(DATABASE, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(OUTBOX, { keyPath: ["owner", "message_id"] });
    };
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("blocked"));
    request.onsuccess = () => {
      // A newer page must not have to wait for this one.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
  });
}

/** @param {any} item */
function whole(item) {
  return [item?.message_id, item?.conversation, item?.content].every((field) => typeof field === "string");
}

/** @param {string | null} text @returns {Pending | undefined} */
function parse(text) {
  try {
    const item = JSON.parse(text ?? "");
    return whole(item) ? item : undefined;
  } catch {
    return undefined;
  }
}

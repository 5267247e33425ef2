// @ts-check
// Where unsent messages lie while nobody looks: in IndexedDB, or where that isn't allowed in a `Storage`. What is on a shelf is
// everybody's who opens one of the same owner; in what order they come off it is the outbox's business.

/**
 * @typedef {{message_id: string, conversation: string, content: string, at_ms: number, error?: string, stored?: boolean}} Pending
 * @typedef {{length: number, key(index: number): string | null, getItem(key: string): string | null,
 *   setItem(key: string, value: string): void, removeItem(key: string): void}} Store
 * @typedef {{items: Pending[], whole: boolean}} Found `whole`: nothing else is on the shelf; otherwise what is missing may be there
 * @typedef {{all(): Promise<Found>, put(item: Pending): Promise<boolean>, remove(message_id: string): Promise<void>}} Shelf
 *   `put` says whether another page would see the item
 */

const DATABASE = "chinwag";
const VERSION = 1;
const OUTBOX = "outbox";
/** A database that doesn't open in this time (browsers have been seen to answer never) is done without. */
const OPEN_TIMEOUT_MS = 3000;

/** Returns the best shelf that this browser has. @param {string} owner @returns {Shelf} */
export function shelfOf(owner) {
  const store = storage("localStorage");
  const factory = database();
  return factory ? new DatabaseShelf(factory, store, owner) : new StorageShelf(store, owner);
}

/** @returns {IDBFactory | null} */
function database() {
  try {
    return globalThis.indexedDB ?? null;
  } catch {
    return null;
  }
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

  /** @returns {Promise<Found>} */
  async all() {
    /** @type {Pending[]} */
    const items = [];
    for (let index = 0; this.#store && index < this.#store.length; index += 1) {
      const key = this.#store.key(index);
      if (!key?.startsWith(this.#prefix)) continue;
      const item = parse(this.#store.getItem(key));
      if (item) items.push(item);
    }
    return { items, whole: this.#store !== null };
  }

  /** @param {Pending} item */
  async put(item) {
    return this.putNow(item);
  }

  /** Done when it returns, which a page that is being closed needs. @param {Pending} item @returns {boolean} whether it is kept */
  putNow(item) {
    try {
      this.#store?.setItem(this.#prefix + item.message_id, JSON.stringify(item));
      return this.#store !== null;
    } catch {
      // Full or forbidden: it stays in memory, which is all that can be had.
      return false;
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

  /** @returns {Promise<Found>} */
  async all() {
    const { items: beside } = await this.#other.all();
    /** @type {Pending[]} */
    let found = [];
    try {
      found = await this.#run("readonly", (outbox) => outbox.getAll(this.#range()));
    } catch {
      // The connection may have gone (a newer page, site data cleared) and what is in the database with it, for this page.
      return { items: beside, whole: false };
    }
    const known = new Set(found.map(({ message_id }) => message_id));
    for (const item of beside) {
      if (known.has(item.message_id) || (await this.#write(item))) await this.#other.remove(item.message_id);
    }
    return { items: [...found, ...beside.filter(({ message_id }) => !known.has(message_id))].filter(whole), whole: true };
  }

  /** @param {Pending} item */
  async put(item) {
    this.#writing.set(item.message_id, item);
    const written = await this.#write(item);
    this.#writing.delete(item.message_id);
    return written || this.#other.putNow(item);
  }

  /** @param {Pending} item @returns {Promise<boolean>} whether the database has it */
  #write(item) {
    return this.#run("readwrite", (outbox) => outbox.put({ ...item, owner: this.#owner })).then(() => true, () => false);
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
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      reject(new Error("timeout"));
    }, OPEN_TIMEOUT_MS);
    const request = factory.open(DATABASE, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(OUTBOX, { keyPath: ["owner", "message_id"] });
    };
    request.onerror = () => {
      clearTimeout(timer);
      reject(request.error);
    };
    request.onblocked = () => reject(new Error("blocked"));
    request.onsuccess = () => {
      clearTimeout(timer);
      if (late) {
        request.result.close();
        return;
      }
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

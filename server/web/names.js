// @ts-check
// What users want to be called: events name users by their username only, so display names are asked for, many at a time, and kept
// until the page is reloaded.

/**
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./log.js").Who} Who
 */

const GATHER_MS = 100;
/** Users that one request may ask for. */
const REQUEST_MAX = 100;
/** Names kept; the first known go first. */
const NAMES_MAX = 2000;

/** Display names by user id. */
export class Names {
  /** Empty: has none, or couldn't be asked. @type {Map<string, string>} */
  #known = new Map();
  /** @type {Set<string>} */
  #wanted = new Set();
  #connection;
  #notify;

  /** @param {Connection} connection @param {import("./protocol.js").Notify} notify */
  constructor(connection, notify) {
    this.#connection = connection;
    this.#notify = notify;
  }

  /** Returns what to call a user now; a better answer is told as a change of the conversations. @param {Who} who */
  of(who) {
    const name = this.#known.get(who.id);
    if (name === undefined) this.#want(who.id);
    return name || who.name;
  }

  /** @param {string} id */
  #want(id) {
    if (this.#wanted.has(id) || !this.#connection.link) return;
    if (this.#wanted.size === 0) setTimeout(() => void this.#ask(), GATHER_MS);
    if (this.#wanted.size < REQUEST_MAX) this.#wanted.add(id);
  }

  async #ask() {
    const ids = [...this.#wanted];
    const users = await this.#connection.ask("users", { ids }).then((answer) => answer.users, () => []);
    // Who is left out is a guest, or gone: not asked again.
    for (const id of ids) this.#known.set(id, "");
    for (const user of users) this.#known.set(user.id, user.display_name ?? "");
    for (const id of this.#known.keys()) {
      if (this.#known.size <= NAMES_MAX) break;
      this.#known.delete(id);
    }
    this.#wanted.clear();
    if (users.some((/** @type {any} */ user) => user.display_name)) this.#notify({ type: "conversations" });
  }
}

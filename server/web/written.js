// @ts-check
// What was written in this browser: the outbox of whoever is logged in, shared with the user's other tabs, and which messages are the
// user's own. Sends nothing.

import { plural } from "./i18n.js";
import { MessageIds } from "./ids.js";
import { Outbox } from "./outbox.js";
import { StorageShelf, shelfOf, storage } from "./shelf.js";
import { Tabs } from "./tabs.js";

/**
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./connection.js").Login} Login
 * @typedef {import("./log.js").Sequenced} Sequenced
 */

/** The messages of one user that began here. */
export class Written {
  /** @type {Outbox | null} until the first welcome */
  outbox = null;
  /** When the outbox has what an earlier page left. @type {Promise<void>} */
  loaded = Promise.resolve();

  #login;
  #connection;
  #notify;
  #heard;
  #ids;
  /** @type {Tabs | null} */
  #tabs = null;
  /** Ids of messages written on this page: a guest's user id changes with every socket. */
  #written = new Set();

  /**
   * @param {Login} login @param {Connection} connection @param {import("./protocol.js").Notify} notify
   * @param {(conversation: string) => void} heard another tab changed the outbox of a conversation
   */
  constructor(login, connection, notify, heard) {
    this.#login = login;
    this.#connection = connection;
    this.#notify = notify;
    this.#heard = heard;
    this.#ids = new MessageIds(() => connection.now());
  }

  /** Opens the outbox of the user that was welcomed, with what an earlier page has left. @param {{id: string}} user */
  open(user) {
    if (this.outbox) return;
    const { guest, name } = this.#login;
    // Guests are one per tab.
    const tabs = guest ? null : new Tabs(user.id, (said) => {
      const conversation = this.outbox?.heard(said);
      if (conversation !== undefined) this.#heard(conversation);
    });
    this.#tabs = tabs;
    const shelf = guest ? new StorageShelf(storage("sessionStorage"), `guest:${name}`) : shelfOf(user.id);
    const outbox = new Outbox(shelf, (said) => tabs?.say(said));
    this.outbox = outbox;
    this.loaded = outbox.load().then(() => {
      for (const conversation of outbox.conversations()) {
        for (const item of outbox.of(conversation)) this.#written.add(item.message_id);
      }
      this.#notify({ type: "conversations" });
    });
  }

  /** Says nothing to other tabs any more, and hears nothing. */
  close() {
    this.#tabs?.close();
  }

  /** Does something that no other tab of the user does at the same time. @param {string} what @param {() => Promise<void>} run */
  exclusively(what, run) {
    return this.#tabs ? this.#tabs.exclusively(what, run) : run();
  }

  /** Puts a message into the outbox. @param {string} conversation @param {string} content @returns {boolean} false: it is full */
  add(conversation, content) {
    const item = { message_id: this.#ids.next(), conversation, content, at_ms: this.#connection.now() };
    if (!this.outbox?.add(item)) return false;
    this.#written.add(item.message_id);
    return true;
  }

  /** @param {Sequenced} event */
  isOwn(event) {
    const { message_id, sender } = event;
    return sender.id === this.#connection.me?.id || (message_id !== undefined && this.#written.has(message_id));
  }

  /** A message that is in the log needn't be sent any more. @param {Sequenced} event */
  settle(event) {
    if (event.message_id !== undefined && this.outbox?.has(event.message_id) && this.isOwn(event)) {
      this.outbox.remove(event.message_id);
      this.#notify({ type: "state" });
    }
  }

  /** Gives up what waits for a conversation, and says so. @param {string} conversation */
  drop(conversation) {
    const items = this.outbox?.of(conversation) ?? [];
    for (const item of items) this.outbox?.remove(item.message_id);
    const unsent = items.filter(({ stored }) => !stored).length;
    if (unsent > 0) this.#notify({ type: "notice", text: plural("notify.unsent", unsent) });
  }
}

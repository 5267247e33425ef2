// @ts-check
// What was written on this page: the outbox of whoever is logged in, and which messages are the user's own. Sends nothing.

import { MessageIds } from "./ids.js";
import { Outbox } from "./outbox.js";

/**
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./connection.js").Login} Login
 * @typedef {import("./log.js").Sequenced} Sequenced
 */

/** The messages of one user that began here. */
export class Written {
  /** @type {Outbox | null} until the first welcome */
  outbox = null;

  #login;
  #connection;
  #notify;
  #ids;
  /** Ids of messages written on this page: a guest's user id changes with every socket. */
  #written = new Set();

  /** @param {Login} login @param {Connection} connection @param {import("./protocol.js").Notify} notify */
  constructor(login, connection, notify) {
    this.#login = login;
    this.#connection = connection;
    this.#notify = notify;
    this.#ids = new MessageIds(() => connection.now());
  }

  /** Opens the outbox of the user that was welcomed, with what an earlier page has left. @param {{id: string}} user */
  open(user) {
    if (this.outbox) return;
    const { guest, name } = this.#login;
    this.outbox = new Outbox(guest ? sessionStorage : localStorage, guest ? `guest:${name}` : user.id);
    for (const conversation of this.outbox.conversations()) {
      for (const item of this.outbox.of(conversation)) this.#written.add(item.message_id);
    }
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
    const unsent = this.outbox?.of(conversation) ?? [];
    for (const item of unsent) this.outbox?.remove(item.message_id);
    if (unsent.length > 0) this.#notify({ type: "notice", text: `Messages that weren't sent: ${unsent.length}` });
  }
}

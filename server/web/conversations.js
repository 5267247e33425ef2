// @ts-check
// The conversations that this page knows: learnt from what the server says of them, and forgotten. Their logs are `Logs`' business.

import { Conversation } from "./conversation.js";

/**
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./connection.js").Positions} Positions
 * @typedef {import("./conversation.js").Info} Info
 * @typedef {import("./written.js").Written} Written
 * @typedef {{learned: (conversation: Conversation) => void, forgotten: (id: string) => void}} Handlers `learned`: more of one
 *   that was known before
 */

/** One user's conversations. */
export class Conversations {
  /** @type {Map<string, Conversation>} */
  all = new Map();

  #connection;
  #written;
  #notify;
  #handlers;

  /**
   * @param {Connection} connection @param {Written} written @param {import("./protocol.js").Notify} notify
   * @param {Handlers} handlers
   */
  constructor(connection, written, notify, handlers) {
    this.#connection = connection;
    this.#written = written;
    this.#notify = notify;
    this.#handlers = handlers;
  }

  /** Returns the positions that the next hello names. @returns {Positions} */
  positions() {
    const kept = [...this.all.values()].filter((conversation) => conversation.member);
    return Object.fromEntries(kept.map(({ id, log }) => [id, { epoch: log.epoch, seq: log.position }]));
  }

  /** @param {Info} info @returns {Conversation} */
  learn(info) {
    const me = this.#connection.me;
    const whole = info.with || !info.users ? info : { ...info, with: info.users.find((user) => user.id !== me?.id) };
    let conversation = this.all.get(info.id);
    if (conversation) {
      conversation.learn(whole);
      if (info.epoch === conversation.log.epoch) conversation.log.expect(info.head);
      this.#handlers.learned(conversation);
    } else {
      conversation = new Conversation(whole, (event) => this.#written.isOwn(event));
      this.all.set(info.id, conversation);
    }
    this.changed(conversation);
    this.#notify({ type: "conversations" });
    return conversation;
  }

  /** Asks anew what only the server counts. @param {string} id */
  async relearn(id) {
    const answer = await this.#connection.ask("conversation", { conversation: id }).catch(() => null);
    if (answer) this.learn(answer.conversation);
  }

  /** The user has become a member. @param {Info} info */
  async added(info) {
    this.learn(info).member = true;
    await this.relearn(info.id);
  }

  /** The user is no member any more. @param {string} id */
  left(id) {
    const conversation = this.all.get(id);
    if (!conversation?.listening) {
      this.forget(id);
      return;
    }
    conversation.member = false;
    this.changed(conversation);
  }

  /** @param {string} id */
  forget(id) {
    this.#written.drop(id);
    if (!this.all.delete(id)) return;
    this.#handlers.forgotten(id);
    this.#notify({ type: "conversations" });
  }

  /** @param {Conversation} conversation */
  changed(conversation) {
    this.#notify({ type: "changed", conversation });
  }
}

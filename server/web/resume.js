// @ts-check
// Makes of a welcome what it says: positions resumed, conversations learnt page by page, rooms listened to again.

import { RequestError } from "./link.js";

const PREVIEWS_MAX = 30;

/**
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./connection.js").Positions} Positions
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./conversations.js").Conversations} Conversations
 * @typedef {import("./link.js").Link} Link
 * @typedef {import("./logs.js").Logs} Logs
 * @typedef {import("./receipts.js").Receipts} Receipts
 */

/** What begins or goes on: a session after its welcome, a room after `room.listen`. */
export class Resume {
  #connection;
  #conversations;
  #logs;
  #receipts;
  #notify;

  /**
   * @param {Connection} connection @param {Conversations} conversations @param {Logs} logs @param {Receipts} receipts
   * @param {import("./protocol.js").Notify} notify
   */
  constructor(connection, conversations, logs, receipts, notify) {
    this.#connection = connection;
    this.#conversations = conversations;
    this.#logs = logs;
    this.#receipts = receipts;
    this.#notify = notify;
  }

  /** @param {Link} link @param {any} welcome @param {Positions[]} unsaid positions that the hello didn't name */
  async welcomed(link, welcome, unsaid) {
    for (const outcome of welcome.resumed ?? []) this.#logs.resumed(outcome);
    const members = [...this.#conversations.all.values()].filter(({ member }) => member);
    const gone = new Set(members.map(({ id }) => id));
    this.#learn(welcome.conversations, gone);
    this.#connection.ready();
    this.#notify({ type: "conversations" });
    try {
      await this.#catchUp(link, welcome.next, gone, unsaid);
    } catch {
      // The link is gone, and the next one begins again; or the server refuses, and what is here has to do.
    }
  }

  /** Listens in a public room. @param {{name: string} | {conversation: string}} which @returns {Promise<Conversation>} */
  async listen(which) {
    return this.#listening(await this.#connection.command("room.listen", which));
  }

  /** @param {import("./conversation.js").Info[]} listed @param {Set<string>} gone memberships not listed yet */
  #learn(listed, gone) {
    for (const info of listed) {
      gone.delete(info.id);
      this.#conversations.learn(info);
    }
  }

  /** @param {Link} link @param {string | undefined} next @param {Set<string>} gone @param {Positions[]} unsaid */
  async #catchUp(link, next, gone, unsaid) {
    while (next) {
      const page = await link.request("conversations", { after: next, limit: this.#connection.limits.page });
      this.#learn(page.conversations, gone);
      next = page.next;
    }
    for (const id of gone) this.#conversations.left(id);
    for (const positions of unsaid) {
      for (const outcome of (await link.request("resume", { positions })).resumed) this.#logs.resumed(outcome);
    }
    for (const conversation of [...this.#conversations.all.values()]) {
      if (conversation.listening) await this.#listenAgain(link, conversation);
      else if (conversation.kind === "direct") this.#receipts.received(conversation);
    }
    this.#notify({ type: "conversations" });
    void this.#preview();
  }

  /** Asks for the newest message of conversations of which it wasn't told: those with something unread and the longest first. */
  async #preview() {
    const all = [...this.#conversations.all.values()];
    const unknown = all.filter(({ last, log }) => last === undefined && log.position > 0);
    unknown.sort((a, b) => b.unread - a.unread || b.log.position - a.log.position);
    for (const { id } of unknown.slice(0, PREVIEWS_MAX)) {
      if (!this.#connection.link) return;
      await this.#conversations.relearn(id);
    }
  }

  /** @param {Link} link @param {Conversation} conversation */
  async #listenAgain(link, conversation) {
    const { epoch, position } = conversation.log;
    try {
      this.#listening(
        await link.request("room.listen", { conversation: conversation.id, position: { epoch, seq: position } }),
      );
    } catch (error) {
      if (!(error instanceof RequestError) || error.retryable) throw error;
      this.#conversations.forget(conversation.id);
    }
  }

  /** @param {any} answer of `room.listen` @returns {Conversation} */
  #listening(answer) {
    const conversation = this.#conversations.learn(answer.conversation);
    conversation.listening = true;
    conversation.listeners = answer.listeners;
    conversation.listenerNames = answer.names;
    if (conversation.last === undefined && conversation.log.position > 0) void this.#conversations.relearn(conversation.id);
    if (answer.resumed) this.#logs.resumed(answer.resumed);
    return conversation;
  }
}

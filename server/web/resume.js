// @ts-check
// Makes of a welcome what it says: positions resumed, conversations learnt page by page, rooms listened to again.

import { sleep } from "./connection.js";
import { RequestError } from "./link.js";
import { backoff } from "./reconnect.js";

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
  /** Whether all conversations of the user have been learnt on the link in use: what isn't among them is none of the user's. */
  listed = false;

  #connection;
  #conversations;
  #logs;
  #receipts;
  #notify;
  /** Rooms that this link doesn't hear yet, though the user listens. @type {Set<string>} */
  #deaf = new Set();

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
    this.listed = false;
    this.#learn(welcome.conversations, gone);
    this.#deaf = new Set([...this.#conversations.all.values()].filter(listensOnly).map(({ id }) => id));
    this.#connection.ready();
    this.#notify({ type: "conversations" });
    try {
      await this.#catchUp(link, welcome.next, gone, unsaid);
    } catch {
      // The link is gone, and the next one begins again.
    }
  }

  /** Returns whether a room isn't heard yet: what is sent there would be refused. @param {string} id */
  awaits(id) {
    return this.#deaf.has(id);
  }

  /** Listens in a public room. @param {{name: string} | {conversation: string}} which @returns {Promise<Conversation>} */
  async listen(which) {
    return this.#listening(await this.#connection.command("room.listen", which));
  }

  /**
   * Returns a conversation that wasn't listed: the user has become a member of it since, or it is a room, which is listened to then.
   * @param {string} id @returns {Promise<Conversation>}
   */
  async find(id) {
    if (!this.#connection.guest) {
      const answer = await this.#connection.ask("conversation", { conversation: id }).catch((error) => {
        if (error.retryable) throw error;
      });
      if (answer?.conversation.role !== undefined) return this.#conversations.learn(answer.conversation);
    }
    return this.listen({ conversation: id });
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
    // What is refused for good costs what it would have said, and nothing else.
    while (next) {
      const page = await this.#insist(link, "conversations", { after: next, limit: this.#connection.limits.page });
      if (!page) break;
      this.#learn(page.conversations, gone);
      next = page.next;
    }
    if (!next) {
      for (const id of gone) this.#conversations.left(id);
      this.listed = true;
    }
    for (const positions of unsaid) {
      const answer = await this.#insist(link, "resume", { positions });
      for (const outcome of answer?.resumed ?? []) this.#logs.resumed(outcome);
    }
    const all = [...this.#conversations.all.values()];
    for (const conversation of all) if (conversation.kind === "direct") this.#receipts.received(conversation);
    const again = await this.#listenAgain(link, all.filter(({ listening }) => listening), 0);
    // The other rooms, and what is to be sent, needn't wait for those that can't be had now.
    if (again.rooms.length > 0) void this.#listenLater(link, again).catch(() => {});
    this.#notify({ type: "conversations" });
    void this.#preview();
  }

  /**
   * Asks, and asks again as long as the server says that it makes sense and the link lives.
   * @param {Link} link @param {string} type @param {Record<string, unknown>} fields
   * @returns {Promise<any>} null: refused; rejects when the link is gone
   */
  async #insist(link, type, fields) {
    for (let failures = 0; ; failures += 1) {
      try {
        return await link.request(type, fields);
      } catch (error) {
        if (!(error instanceof RequestError) || this.#connection.link !== link) throw error;
        if (!error.retryable) return null;
        await sleep(error.retry_after_ms ?? backoff(failures));
      }
    }
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

  /**
   * Listens again in rooms, each once.
   * @param {Link} link @param {Conversation[]} rooms @param {number} failures rounds before this one
   * @returns {Promise<{rooms: Conversation[], wait_ms: number}>} what to ask again for, and when; rejects when the link is gone
   */
  async #listenAgain(link, rooms, failures) {
    const again = { rooms: /** @type {Conversation[]} */ ([]), wait_ms: 0 };
    for (const conversation of rooms) {
      const { id, log } = conversation;
      try {
        // It may have been left meanwhile.
        const wanted = this.#conversations.all.get(id) === conversation && conversation.listening;
        if (wanted) this.#listening(await link.request("room.listen", { conversation: id, position: { epoch: log.epoch, seq: log.position } }));
      } catch (error) {
        if (!(error instanceof RequestError) || this.#connection.link !== link) throw error;
        if (error.retryable) {
          again.rooms.push(conversation);
          again.wait_ms = Math.max(again.wait_ms, error.retry_after_ms ?? backoff(failures));
          continue;
        }
        this.#conversations.forget(id);
      }
      this.#deaf.delete(id);
    }
    return again;
  }

  /** Goes on until all rooms are heard or the link is gone. @param {Link} link @param {{rooms: Conversation[], wait_ms: number}} again */
  async #listenLater(link, again) {
    for (let failures = 1; again.rooms.length > 0; failures += 1) {
      await sleep(again.wait_ms);
      if (this.#connection.link !== link) return;
      again = await this.#listenAgain(link, again.rooms, failures);
    }
  }

  /** @param {any} answer of `room.listen` @returns {Conversation} */
  #listening(answer) {
    const conversation = this.#conversations.learn(answer.conversation);
    conversation.listening = true;
    this.#deaf.delete(conversation.id);
    conversation.listeners = answer.listeners;
    conversation.listenerNames = answer.names;
    if (conversation.last === undefined && conversation.log.position > 0) void this.#conversations.relearn(conversation.id);
    if (answer.resumed) this.#logs.resumed(answer.resumed);
    return conversation;
  }
}

/** @param {Conversation} conversation */
const listensOnly = ({ listening, member }) => listening && !member;

// @ts-check
// Keeps the logs of the conversations whole: takes events from wherever, fetches holes from history, and begins again where a log
// is another one.

import { RequestError } from "./link.js";

/** A hole that is larger isn't filled: the window starts anew at its end, and older pages are loaded on scrolling up. */
const GAP_FILL_MAX = 1000;
/** How long a hole may last before it is fetched. */
export const HOLE_MS = 1000;
/** Entries of one page while scrolling. */
const SCROLL_PAGE = 200;
/** How much is shown of what comes before a message that is jumped to. */
const CONTEXT = 30;
const FILL_PAGE = 200;

/**
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./conversations.js").Conversations} Conversations
 * @typedef {import("./log.js").Sequenced} Sequenced
 * @typedef {import("./receipts.js").Receipts} Receipts
 * @typedef {import("./written.js").Written} Written
 */

/** What is done for the logs of all conversations. */
export class Logs {
  #connection;
  #conversations;
  #written;
  #receipts;
  #notify;
  /** Conversations whose hole is being filled. */
  #filling = new Set();
  /** @type {Map<string, number>} */
  #holes = new Map();

  /**
   * @param {Connection} connection @param {Conversations} conversations @param {Written} written @param {Receipts} receipts
   * @param {import("./protocol.js").Notify} notify
   */
  constructor(connection, conversations, written, receipts, notify) {
    this.#connection = connection;
    this.#conversations = conversations;
    this.#written = written;
    this.#receipts = receipts;
    this.#notify = notify;
  }

  /** @param {Conversation} conversation @param {Sequenced} event */
  accept(conversation, event) {
    const { applied, reset } = conversation.log.accept(event);
    if (reset) {
      void this.#reload(conversation);
      return;
    }
    this.#apply(conversation, applied);
    if (event.seq <= conversation.log.position) this.#written.settle(event);
    this.watch(conversation);
  }

  /**
   * Takes the reply to a change of the log as the event that this socket isn't sent.
   * @param {Conversation} conversation
   * @param {{epoch: string, seq: number, id: string, timestamp: number}} reply
   * @param {Partial<Sequenced> & {event: string}} rest
   */
  acceptReply(conversation, reply, rest) {
    const { epoch, seq, id, timestamp } = reply;
    const me = this.#connection.me;
    const sender = { id: me?.id ?? "", name: me?.name ?? "" };
    this.accept(conversation, { conversation: conversation.id, epoch, seq, id, timestamp, sender, ...rest });
  }

  /** @param {Conversation} conversation @param {Sequenced[]} events */
  #apply(conversation, events) {
    for (const event of events) {
      conversation.apply(event);
      this.#written.settle(event);
      if (event.event === "message") this.#notify({ type: "message", conversation, event });
    }
    if (events.length === 0) return;
    this.#receipts.received(conversation);
    this.#conversations.changed(conversation);
  }

  /** Sees to it that a hole doesn't stay. @param {Conversation} conversation */
  watch(conversation) {
    if (!conversation.log.hole || this.#holes.has(conversation.id)) return;
    const before = conversation.log.position;
    const timer = setTimeout(() => {
      this.#holes.delete(conversation.id);
      // While it shrinks (a replay on its way) nothing need be fetched.
      if (conversation.log.position === before) void this.#fill(conversation);
      else this.watch(conversation);
    }, HOLE_MS);
    this.#holes.set(conversation.id, timer);
  }

  /** The conversation is forgotten. @param {string} id */
  unwatch(id) {
    clearTimeout(this.#holes.get(id));
    this.#holes.delete(id);
  }

  /** Fetches what is missing. @param {Conversation} conversation */
  async #fill(conversation) {
    if (this.#filling.has(conversation.id)) return;
    this.#filling.add(conversation.id);
    try {
      while (conversation.log.hole && this.#connection.link) {
        const after = conversation.log.position;
        const which = { conversation: conversation.id, after, limit: FILL_PAGE };
        const page = await this.#connection.ask("history", which);
        const { applied, reset } = conversation.log.acceptPage(page);
        if (reset) {
          await this.#reload(conversation);
          return;
        }
        this.#apply(conversation, applied);
        if (conversation.log.position === after) return;
      }
    } catch (error) {
      if (error instanceof RequestError && error.code === "unknown_cursor") await this.#reload(conversation);
      else if (error instanceof RequestError && error.retryable) setTimeout(() => this.watch(conversation), HOLE_MS);
    } finally {
      this.#filling.delete(conversation.id);
    }
  }

  /** Takes what became of a position. @param {any} outcome one of `resumed` */
  resumed(outcome) {
    const conversation = this.#conversations.all.get(outcome.conversation);
    if (!conversation) return;
    const other = outcome.epoch !== conversation.log.epoch;
    if (outcome.outcome === "gone") {
      this.#conversations.forget(conversation.id);
    } else if (outcome.outcome === "reset" || other) {
      conversation.restart(outcome.epoch, outcome.head);
      this.#conversations.changed(conversation);
    } else if (outcome.outcome === "gap") {
      this.gap(conversation, outcome);
    } else {
      conversation.log.expect(outcome.to);
      this.watch(conversation);
    }
  }

  /** @param {Conversation} conversation @param {{epoch: string, from: number, to: number}} gap */
  gap(conversation, gap) {
    if (gap.epoch !== conversation.log.epoch) {
      void this.#reload(conversation);
    } else if (gap.to - conversation.log.position > GAP_FILL_MAX) {
      conversation.restart(gap.epoch, gap.to);
      this.#conversations.changed(conversation);
      void this.#conversations.relearn(conversation.id);
    } else {
      conversation.log.expect(gap.to);
      void this.#fill(conversation);
    }
  }

  /** Loads the page before what is held. @param {Conversation} conversation @returns {Promise<void>} */
  async loadOlder(conversation) {
    const before = conversation.excerpt.from;
    const page = await this.#page(conversation, { before });
    if (conversation.excerpt.from !== before) return;
    if (page === null || !conversation.prepend(page)) return this.#reload(conversation);
    this.#paged(conversation, page);
  }

  /** Loads the page behind what is held, if that doesn't reach the position. @param {Conversation} conversation @returns {Promise<void>} */
  async loadNewer(conversation) {
    const { excerpt } = conversation;
    const after = excerpt.until;
    if (excerpt.attached) return;
    const page = await this.#page(conversation, { after });
    if (excerpt.attached || excerpt.until !== after) return;
    if (page === null || page.epoch !== conversation.log.epoch) return this.#reload(conversation);
    excerpt.append(page, reachedBy(page, after), conversation.log.position);
    this.#paged(conversation, page);
  }

  /** Holds what surrounds a message instead. @param {Conversation} conversation @param {number} seq @returns {Promise<void>} */
  async loadAround(conversation, seq) {
    const after = Math.max(0, Math.min(seq, conversation.log.position) - 1 - CONTEXT);
    const page = await this.#page(conversation, { after });
    if (page === null || page.epoch !== conversation.log.epoch) return this.#reload(conversation);
    conversation.excerpt.replace(page, reachedBy(page, after), conversation.log.position);
    this.#paged(conversation, page);
  }

  /** Holds the newest instead, if the page holds something else. @param {Conversation} conversation @returns {Promise<void>} */
  async loadNewest(conversation) {
    if (conversation.excerpt.attached) return;
    const page = await this.#page(conversation, {});
    if (page === null || page.epoch !== conversation.log.epoch) return this.#reload(conversation);
    conversation.excerpt.replace(page, page.head, conversation.log.position);
    this.#paged(conversation, page);
  }

  /**
   * @param {Conversation} conversation @param {{before?: number, after?: number}} where
   * @returns {Promise<import("./log.js").Page | null>} null: there is no such place in the log
   */
  #page(conversation, where) {
    return this.#connection.ask("history", { conversation: conversation.id, limit: SCROLL_PAGE, ...where }).catch((error) => {
      if (error.code === "unknown_cursor") return null;
      throw error;
    });
  }

  /** @param {Conversation} conversation @param {import("./log.js").Page} page */
  #paged(conversation, page) {
    for (const event of page.events) this.#written.settle(event);
    this.#conversations.changed(conversation);
  }

  /** Begins again: the log is another one, or the position is void. @param {Conversation} conversation */
  async #reload(conversation) {
    const answer = await this.#connection.ask("conversation", { conversation: conversation.id }).catch(() => null);
    if (!answer) return;
    const info = answer.conversation;
    if (info.epoch === conversation.log.epoch && conversation.log.position === info.head) return;
    conversation.restart(info.epoch, info.head);
    this.#conversations.learn(info);
  }
}

/** Returns up to where a page `after` a seq leaves nothing out. @param {import("./log.js").Page} page @param {number} after */
function reachedBy(page, after) {
  return page.complete ? Math.max(page.head, after) : (page.events.at(-1)?.seq ?? after);
}

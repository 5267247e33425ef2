// @ts-check
// Sends what the outbox holds, one message of a conversation after the other, until the server has stored or refused it.

import { sleep } from "./connection.js";
import { explain } from "./errors.js";
import { RequestError } from "./link.js";
import { HOLE_MS } from "./logs.js";
import { backoff } from "./reconnect.js";

/**
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./conversations.js").Conversations} Conversations
 * @typedef {import("./link.js").Link} Link
 * @typedef {import("./logs.js").Logs} Logs
 * @typedef {import("./outbox.js").Outbox} Outbox
 * @typedef {import("./resume.js").Resume} Resume
 * @typedef {import("./written.js").Written} Written
 */

/** How long to wait for what the server is still saying after a welcome. */
const AWAIT_MS = HOLE_MS / 4;
/** Refusals of a conversation, not of the wish to hear it now. */
const GONE = new Set(["not_found", "forbidden"]);

/** Empties the outbox. */
export class Sender {
  #connection;
  #conversations;
  #written;
  #logs;
  #resume;
  /** Conversations whose outbox is being sent. */
  #sending = new Set();

  /**
   * @param {Connection} connection @param {Conversations} conversations @param {Written} written @param {Logs} logs
   * @param {Resume} resume
   */
  constructor(connection, conversations, written, logs, resume) {
    this.#connection = connection;
    this.#conversations = conversations;
    this.#written = written;
    this.#logs = logs;
    this.#resume = resume;
  }

  /** Sends everything, also what an earlier page has left. */
  async pumpAll() {
    await this.#written.loaded;
    for (const conversation of this.#written.outbox?.conversations() ?? []) void this.pump(conversation);
  }

  /**
   * Sends a conversation's messages, one after the other, so that a refused one doesn't change their order. Of the user's tabs one
   * does this at a time.
   * @param {string} id
   */
  async pump(id) {
    const outbox = this.#written.outbox;
    if (!outbox || this.#sending.has(id)) return;
    this.#sending.add(id);
    try {
      await this.#written.exclusively(`send.${id}`, async () => {
        // What other tabs have sent while this one waited for its turn isn't sent again.
        await outbox.load();
        await this.#empty(outbox, id);
      });
    } finally {
      this.#sending.delete(id);
      // One that was written, or a link that came, while the last one ended.
      if (this.#connection.link && outbox.next(id)) setTimeout(() => void this.pump(id), 0);
    }
  }

  /** @param {Outbox} outbox @param {string} id */
  async #empty(outbox, id) {
    for (let failures = 0; ; ) {
      const item = outbox.next(id);
      const link = this.#connection.link;
      if (!item || !link) return;
      const known = this.#conversations.all.get(id);
      if (known ? this.#resume.awaits(id) : !this.#resume.listed) {
        // The server would refuse what it takes a moment later.
        await sleep(AWAIT_MS);
        continue;
      }
      try {
        const conversation = known ?? (await this.#resume.find(id));
        // A guest is another user after every reconnect: the replay decides whether the message got through.
        if (this.#connection.guest && conversation.log.hole) await sleep(AWAIT_MS);
        else await this.#sendOne(link, outbox, conversation, item);
        failures = 0;
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        if (error.code === "disconnected") return;
        if (error.retryable) {
          await sleep(error.retry_after_ms ?? backoff(failures));
          failures += 1;
        } else {
          const conversation = this.#conversations.all.get(id);
          // It isn't the user's, and no room that may be heard: nobody could see that the message failed.
          if (!conversation && this.#resume.listed && GONE.has(error.code)) this.#conversations.forget(id);
          else outbox.fail(item.message_id, explain(error));
          if (conversation) this.#conversations.changed(conversation);
        }
      }
    }
  }

  /** @param {Link} link @param {Outbox} outbox @param {Conversation} conversation @param {import("./shelf.js").Pending} item */
  async #sendOne(link, outbox, conversation, item) {
    const { message_id, content } = item;
    await outbox.saved(message_id);
    const reply = await link.request("send", { conversation: conversation.id, message_id, content });
    const dropped = outbox.stored(message_id);
    this.#logs.acceptReply(conversation, reply, { event: "message", message_id, content });
    this.#conversations.changed(conversation);
    await dropped;
  }
}

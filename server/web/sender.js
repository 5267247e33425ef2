// @ts-check
// Sends what the outbox holds, one message of a conversation after the other, until the server has stored or refused it.

import { sleep } from "./connection.js";
import { RequestError } from "./link.js";
import { HOLE_MS } from "./logs.js";
import { backoff } from "./reconnect.js";

/**
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./conversations.js").Conversations} Conversations
 * @typedef {import("./link.js").Link} Link
 * @typedef {import("./logs.js").Logs} Logs
 * @typedef {import("./resume.js").Resume} Resume
 * @typedef {import("./written.js").Written} Written
 */

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

  /** Sends everything. */
  pumpAll() {
    for (const conversation of this.#written.outbox?.conversations() ?? []) void this.pump(conversation);
  }

  /** Sends a conversation's messages, one after the other, so that a refused one doesn't change their order. @param {string} id */
  async pump(id) {
    if (this.#sending.has(id)) return;
    this.#sending.add(id);
    const outbox = this.#written.outbox;
    try {
      for (let failures = 0; outbox; ) {
        const item = outbox.next(id);
        const link = this.#connection.link;
        if (!item || !link) return;
        try {
          const conversation = this.#conversations.all.get(id) ?? (await this.#resume.listen({ conversation: id }));
          // A guest is another user after every reconnect: the replay decides whether the message got through.
          if (this.#connection.guest && conversation.log.hole) await sleep(HOLE_MS / 4);
          else await this.#sendOne(link, conversation, item);
          failures = 0;
        } catch (error) {
          if (!(error instanceof RequestError)) throw error;
          if (error.code === "disconnected") return;
          if (error.retryable) {
            await sleep(error.retry_after_ms ?? backoff(failures));
            failures += 1;
          } else {
            outbox.fail(item.message_id, error.message);
            const conversation = this.#conversations.all.get(id);
            if (conversation) this.#conversations.changed(conversation);
            else this.#conversations.forget(id);
          }
        }
      }
    } finally {
      this.#sending.delete(id);
      // One that was written, or a link that came, while the last one ended.
      if (this.#connection.link && outbox?.next(id)) setTimeout(() => void this.pump(id), 0);
    }
  }

  /** @param {Link} link @param {Conversation} conversation @param {import("./outbox.js").Pending} item */
  async #sendOne(link, conversation, item) {
    const { message_id, content } = item;
    const reply = await link.request("send", { conversation: conversation.id, message_id, content });
    this.#written.outbox?.stored(message_id);
    this.#logs.acceptReply(conversation, reply, { event: "message", message_id, content });
    this.#conversations.changed(conversation);
  }
}

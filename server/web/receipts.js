// @ts-check
// How far who has got in a conversation: says `delivered` and `read` for the user here, and takes what the server says of others.

/**
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./conversations.js").Conversations} Conversations
 */

const DELIVERED_GATHER_MS = 300;

/** The pointers of all conversations. */
export class Receipts {
  #connection;
  #conversations;
  /** @type {Map<string, number>} */
  #delivering = new Map();

  /** @param {Connection} connection @param {Conversations} conversations */
  constructor(connection, conversations) {
    this.#connection = connection;
    this.#conversations = conversations;
  }

  /** Says `delivered`, gathered over a moment. @param {Conversation} conversation */
  received(conversation) {
    if (!conversation.member || this.#connection.guest || this.#delivering.has(conversation.id)) return;
    if (conversation.unread === 0 || conversation.log.position <= conversation.delivered) return;
    const timer = setTimeout(() => {
      this.#delivering.delete(conversation.id);
      const seq = conversation.log.position;
      if (seq <= conversation.delivered) return;
      const before = conversation.delivered;
      conversation.delivered = seq;
      this.#connection.ask("delivered", { conversation: conversation.id, seq }).catch(() => {
        conversation.delivered = Math.min(conversation.delivered, before);
      });
    }, DELIVERED_GATHER_MS);
    this.#delivering.set(conversation.id, timer);
  }

  /** Says that everything up to the position is on the screen. @param {Conversation} conversation */
  seen(conversation) {
    const seq = conversation.log.position;
    const moved = conversation.member && seq > conversation.read;
    if (conversation.unread === 0 && !moved) return;
    const before = conversation.read;
    if (moved && !this.#connection.link) conversation.unread = 0;
    else conversation.saw(seq);
    if (moved && this.#connection.link) {
      conversation.delivered = Math.max(conversation.delivered, seq);
      this.#connection.ask("read", { conversation: conversation.id, seq }).catch(() => {
        conversation.read = Math.min(conversation.read, before);
      });
    }
    this.#conversations.changed(conversation);
  }

  /** Takes the event of a moved pointer. @param {Conversation} conversation @param {any} event */
  pointer(conversation, event) {
    if (event.user.id !== this.#connection.me?.id) {
      conversation.peer.delivered = Math.max(conversation.peer.delivered, event.seq);
      if (event.pointer === "read") conversation.peer.read = Math.max(conversation.peer.read, event.seq);
    } else if (event.pointer === "read" && event.seq > conversation.read) {
      // Another device of ours.
      conversation.read = event.seq;
      if (event.seq >= conversation.log.position) conversation.unread = 0;
      else void this.#conversations.relearn(conversation.id);
    }
    this.#conversations.changed(conversation);
  }

  /** Takes where the other one of a chat has got to. @param {Conversation} conversation @param {any[]} members */
  peer(conversation, members) {
    const other = members.find((member) => member.id !== this.#connection.me?.id);
    if (!other) return;
    conversation.peer.delivered = Math.max(conversation.peer.delivered, other.delivered);
    conversation.peer.read = Math.max(conversation.peer.read, other.read);
    if (conversation.with) Object.assign(conversation.with, { online: other.online ?? conversation.with.online });
    this.#conversations.changed(conversation);
  }
}

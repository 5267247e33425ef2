// @ts-check
// What the server says unasked: each event goes to whom it concerns, and what passes (who types, listens, is online) is noted here.

/**
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./conversations.js").Conversations} Conversations
 * @typedef {import("./logs.js").Logs} Logs
 * @typedef {import("./receipts.js").Receipts} Receipts
 */

const TYPING_SHOWN_MS = 4000;

/** Takes the events of all links. */
export class Events {
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

  /** @param {any} event */
  take(event) {
    const conversation = this.#conversations.all.get(typeof event.conversation === "string" ? event.conversation : "");
    if (typeof event.seq === "number" && event.epoch !== undefined && event.event !== "gap") {
      if (conversation) this.#logs.accept(conversation, event);
      return;
    }
    switch (event.event) {
      case "pointer":
        if (conversation) this.#receipts.pointer(conversation, event);
        break;
      case "typing":
        if (conversation) this.#typing(conversation, event);
        break;
      case "listener":
        if (conversation) this.#listener(conversation, event);
        break;
      case "presence":
        this.#presence(event);
        break;
      case "conversation_added":
        void this.#conversations.added(event.conversation);
        break;
      case "conversation_removed":
        this.#conversations.left(event.conversation);
        break;
      case "gap":
        if (conversation) this.#logs.gap(conversation, event);
        break;
      case "notification":
        this.#notify({ type: "notice", text: event.message });
        break;
      case "drain":
        this.#connection.changeOver(event.reconnect_after_ms);
        break;
      default:
    }
  }

  /** @param {Conversation} conversation @param {any} event */
  #typing(conversation, event) {
    const me = this.#connection.me;
    conversation.typists = event.typists.filter((/** @type {string} */ name) => name !== me?.name);
    conversation.typists_until_ms = Date.now() + TYPING_SHOWN_MS;
    setTimeout(() => {
      if (conversation.lapse(Date.now())) this.#conversations.changed(conversation);
    }, TYPING_SHOWN_MS + 50);
    this.#conversations.changed(conversation);
  }

  /** @param {Conversation} conversation @param {any} event */
  #listener(conversation, event) {
    conversation.listeners = event.listeners;
    const others = conversation.listenerNames.filter((name) => name !== event.user.name);
    conversation.listenerNames = event.listening ? [...others, event.user.name] : others;
    this.#conversations.changed(conversation);
  }

  /** @param {any} event */
  #presence(event) {
    for (const conversation of this.#conversations.all.values()) {
      const other = conversation.with;
      if (!other || other.id !== event.user.id) continue;
      Object.assign(other, { online: event.online, last_seen: event.last_seen });
      this.#conversations.changed(conversation);
    }
  }
}

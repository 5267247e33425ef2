// @ts-check
// The client of `chinwag.v1`: puts its parts together, and is what the views see of them. They read `conversations`, ask for what
// people do, and are told by `notify` what changed; nothing here touches the page.
//
// `Connection` keeps one link alive; on a welcome, `Resume` goes on where the last one ended; `Events` takes what the server says;
// `Logs` fills holes from history; `Written` holds what `Sender` sends; `Receipts` say what was read.

import { Connection } from "./connection.js";
import { Conversations } from "./conversations.js";
import { Events } from "./events.js";
import { t } from "./i18n.js";
import { Logs } from "./logs.js";
import { Names } from "./names.js";
import { Receipts } from "./receipts.js";
import { Resume } from "./resume.js";
import { Sender } from "./sender.js";
import { Written } from "./written.js";

/**
 * @typedef {import("./connection.js").Login} Login
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./log.js").Sequenced} Sequenced
 * @typedef {{id: string, name: string, listeners: number, messages: number, last_at?: number}} RoomRow
 * @typedef {{type: "state" | "conversations" | "changed" | "message" | "notice" | "ended", conversation?: Conversation,
 *   event?: Sequenced, text?: string}} Change
 * @typedef {(change: Change) => void} Notify
 */

/** One user's connection with the server, through all its sockets. */
export class Client {
  #connection;
  #written;
  #conversations;
  #receipts;
  #logs;
  #resume;
  #events;
  #sender;
  #names;
  #notify;

  /**
   * @param {string} url of the socket
   * @param {Login} login
   * @param {Notify} notify
   */
  constructor(url, login, notify) {
    this.#notify = notify;
    this.#connection = new Connection(url, login, notify, {
      positions: () => this.positions(),
      onEvent: (event) => this.#events.take(event),
      onWelcome: async (link, welcome, unsaid) => {
        this.#written.open(welcome.user);
        await this.#resume.welcomed(link, welcome, unsaid);
        void this.#sender.pumpAll();
      },
    });
    this.#written = new Written(login, this.#connection, notify, (id) => {
      const conversation = this.conversations.get(id);
      if (conversation) this.#conversations.changed(conversation);
      // The tab that wrote it sends it; should that one be closed first, it is our turn.
      void this.#sender.pump(id);
    });
    this.#conversations = new Conversations(this.#connection, this.#written, notify, {
      learned: (conversation) => this.#logs.watch(conversation),
      forgotten: (id) => this.#logs.unwatch(id),
    });
    this.#names = new Names(this.#connection, notify);
    this.#receipts = new Receipts(this.#connection, this.#conversations);
    this.#logs = new Logs(this.#connection, this.#conversations, this.#written, this.#receipts, notify);
    this.#resume = new Resume(this.#connection, this.#conversations, this.#logs, this.#receipts, notify);
    this.#events = new Events(this.#connection, this.#conversations, this.#logs, this.#receipts, notify);
    this.#sender = new Sender(this.#connection, this.#conversations, this.#written, this.#logs, this.#resume);
  }

  // --- what the views read --------------------------------------------------------------------------------------------------

  get conversations() {
    return this.#conversations.all;
  }

  get state() {
    return this.#connection.state;
  }

  get me() {
    return this.#connection.me;
  }

  get guest() {
    return this.#connection.guest;
  }

  get limits() {
    return this.#connection.limits;
  }

  get retry_at_ms() {
    return this.#connection.retry_at_ms;
  }

  get outbox() {
    return this.#written.outbox;
  }

  /** The server's time, nearly. */
  now() {
    return this.#connection.now();
  }

  /** Returns what to call a user. @param {import("./log.js").Who} who */
  nameOf(who) {
    return this.#names.of(who);
  }

  /** @param {Sequenced} event */
  isOwn(event) {
    return this.#written.isOwn(event);
  }

  /** Returns the positions that the next hello names. @returns {import("./connection.js").Positions} */
  positions() {
    return this.#conversations.positions();
  }

  // --- the connection -------------------------------------------------------------------------------------------------------

  /** Connects, and stays connected until {@link stop}. */
  start() {
    this.#connection.start();
  }

  /** Disconnects for good. */
  stop() {
    this.#connection.stop();
    this.#written.close();
  }

  /** Tries now instead of after the wait. */
  hurry() {
    this.#connection.hurry();
  }

  // --- messages -------------------------------------------------------------------------------------------------------------

  /**
   * Writes a message: it is shown at once and sent when that is possible.
   * @param {Conversation} conversation @param {string} text
   */
  send(conversation, text) {
    const content = text.trim();
    if (!content || !this.outbox) return;
    if (!this.#written.add(conversation.id, content)) {
      this.#notify({ type: "notice", text: t("error.outboxFull") });
      return;
    }
    this.#conversations.changed(conversation);
    void this.#sender.pump(conversation.id);
  }

  /** Sends a refused message again, under a new id. @param {Conversation} conversation @param {string} message_id */
  resend(conversation, message_id) {
    const item = this.outbox?.remove(message_id);
    if (item) this.send(conversation, item.content);
  }

  /** Gives up a message that wasn't sent. @param {Conversation} conversation @param {string} message_id */
  discard(conversation, message_id) {
    this.outbox?.remove(message_id);
    this.#conversations.changed(conversation);
  }

  /** @param {Conversation} conversation @param {Sequenced} entry @param {string} text */
  async edit(conversation, entry, text) {
    const content = text.trim();
    const reply = await this.command("edit", { conversation: conversation.id, message: entry.id, content });
    const edited = { event: "edited", content, edited_at: reply.timestamp, ...target(entry) };
    this.#logs.acceptReply(conversation, reply, edited);
  }

  /** @param {Conversation} conversation @param {Sequenced} entry */
  async remove(conversation, entry) {
    const reply = await this.command("delete", { conversation: conversation.id, message: entry.id });
    this.#logs.acceptReply(conversation, reply, { event: "deleted", ...target(entry) });
  }

  /** Says whether the user types. @param {Conversation} conversation @param {boolean} active */
  typing(conversation, active) {
    this.#connection.ask("typing", { conversation: conversation.id, active }).catch(() => {});
  }

  /** Says that everything up to the position is on the screen. @param {Conversation} conversation */
  seen(conversation) {
    this.#receipts.seen(conversation);
  }

  /** Loads the page before what is held. @param {Conversation} conversation @returns {Promise<void>} */
  loadOlder(conversation) {
    return this.#logs.loadOlder(conversation);
  }

  /** Loads the page behind what is held. @param {Conversation} conversation @returns {Promise<void>} */
  loadNewer(conversation) {
    return this.#logs.loadNewer(conversation);
  }

  /** Holds what surrounds a message instead. @param {Conversation} conversation @param {number} seq @returns {Promise<void>} */
  loadAround(conversation, seq) {
    return this.#logs.loadAround(conversation, seq);
  }

  /** Holds the newest instead. @param {Conversation} conversation @returns {Promise<void>} */
  loadNewest(conversation) {
    return this.#logs.loadNewest(conversation);
  }

  // --- conversations --------------------------------------------------------------------------------------------------------

  /** Listens in a public room. @param {{name: string} | {conversation: string}} which @returns {Promise<Conversation>} */
  listen(which) {
    return this.#resume.listen(which);
  }

  /** @param {string} name @returns {Promise<Conversation>} */
  async createRoom(name) {
    const conversation = await this.#learnt("room.create", { name });
    return this.listen({ conversation: conversation.id });
  }

  /** @param {string} name @returns {Promise<Conversation>} */
  createGroup(name) {
    return this.#learnt("group.create", { name });
  }

  /** @param {string} id @returns {Promise<Conversation>} */
  joinGroup(id) {
    return this.#learnt("group.join", { conversation: id });
  }

  /** @param {string} name @returns {Promise<Conversation>} */
  openChat(name) {
    return this.#learnt("chat.open", { with: name });
  }

  /** Becomes a member of a room. @param {Conversation} conversation */
  async joinRoom(conversation) {
    await this.#learnt("room.join", { conversation: conversation.id });
  }

  /** Stops hearing a conversation: as a member, as a listener, or both. @param {Conversation} conversation */
  async leave(conversation) {
    const which = { conversation: conversation.id };
    if (conversation.member) await this.command(`${conversation.kind}.leave`, which);
    if (conversation.listening) await this.command("room.unlisten", which);
    this.#conversations.forget(conversation.id);
  }

  /** @returns {Promise<RoomRow[]>} */
  async rooms() {
    return (await this.#connection.ask("rooms", { limit: 50 })).rooms;
  }

  /**
   * Returns a page of members.
   * @param {Conversation} conversation @param {string} [after] `next` of the page before
   * @returns {Promise<{members: any[], next?: string}>} at most 200
   */
  members(conversation, after) {
    return this.#connection.ask("members", { conversation: conversation.id, after, limit: 200 });
  }

  /** Sets what others see instead of the user's name. @param {string} name empty: nothing */
  async setDisplayName(name) {
    const { user } = await this.command("profile.set", { display_name: name || null });
    this.#connection.me = user;
    this.#notify({ type: "state" });
  }

  /** Asks what the list of conversations doesn't tell. @param {Conversation} conversation */
  refresh(conversation) {
    return this.#conversations.relearn(conversation.id);
  }

  /** Asks where the other one of a chat has got to. @param {Conversation} conversation */
  async loadPeer(conversation) {
    if (conversation.kind !== "direct") return;
    this.#receipts.peer(conversation, (await this.members(conversation)).members);
  }

  /**
   * Asks for something that changes the server, and asks again (the same, under the same id) when the answer is lost.
   * @param {string} type @param {Record<string, unknown>} fields @returns {Promise<any>}
   */
  command(type, fields) {
    return this.#connection.command(type, fields);
  }

  /** Changes something that is answered with a conversation. @param {string} type @param {Record<string, unknown>} fields */
  async #learnt(type, fields) {
    return this.#conversations.learn((await this.command(type, fields)).conversation);
  }
}

/** @param {Sequenced} entry */
function target(entry) {
  return { target: entry.id, target_seq: entry.seq };
}

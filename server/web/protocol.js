// @ts-check
// The client of `chinwag.v1`: keeps one link alive, resumes positions, fills holes from history, sends what the outbox holds, and
// keeps the conversations right. The views read `conversations` and are told by `notify` what changed; nothing here touches
// the page.

import { Conversation } from "./conversation.js";
import { MessageIds, requestId } from "./ids.js";
import { Link, RequestError, disconnected } from "./link.js";
import { Outbox } from "./outbox.js";
import { afterClose, backoff } from "./reconnect.js";

/** Tells the operators which client this is. */
const CLIENT = "chinwag-web/0.1";
/** A hole that is larger isn't filled: the window starts anew at its end, and older pages are loaded on scrolling up. */
const GAP_FILL_MAX = 1000;
/** How long a hole may last before it is fetched. */
const HOLE_MS = 1000;
/** A socket that lived this long was a good one. */
const SETTLED_MS = 5000;
const DELIVERED_GATHER_MS = 300;
const OLDER_PAGE = 50;
const FILL_PAGE = 200;
const DRAIN_RETRY_MS = 1500;
/** What a refused hello means, as the close code that belongs to it. @type {Record<string, number>} */
const HELLO_REFUSED = { unauthorized: 4200, unsupported_version: 4203, draining: 1001 };
const PREVIEWS_MAX = 30;
const TRIES = 4;
const TYPING_SHOWN_MS = 4000;

/**
 * @typedef {import("./conversation.js").Info} Info
 * @typedef {import("./log.js").Sequenced} Sequenced
 * @typedef {{id: string, name: string, display_name?: string, guest: boolean}} Me
 * @typedef {{id: string, name: string, listeners: number, messages: number, last_at?: number}} RoomRow
 * @typedef {{name: string, guest: boolean, credentials(): Promise<Record<string, string>>, refresh(): Promise<void>}} Login
 * @typedef {"connecting" | "online" | "waiting" | "ended"} State
 * @typedef {{type: "state" | "conversations" | "changed" | "message" | "notice" | "ended", conversation?: Conversation,
 *   event?: Sequenced, text?: string}} Change
 */

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One user's connection with the server, through all its sockets. */
export class Client {
  /** @type {Map<string, Conversation>} */
  conversations = new Map();
  /** @type {State} */
  state = "connecting";
  /** @type {Me | null} */
  me = null;
  /** @type {Outbox | null} */
  outbox = null;
  limits = { content_chars: 4096, page: 200, positions: 500 };
  retry_at_ms = 0;

  #url;
  #login;
  #notify;
  /** The link in use, welcomed. @type {Link | null} */
  #link = null;
  /** A link that isn't welcomed yet. @type {Link | null} */
  #next = null;
  #failures = 0;
  #refreshed = false;
  #timer = 0;
  #settled = 0;
  #skew_ms = 0;
  #ids = new MessageIds(() => this.now());
  /** Conversations whose outbox is being sent. */
  #sending = new Set();
  /** Conversations whose hole is being filled. */
  #filling = new Set();
  /** @type {Map<string, number>} */
  #holes = new Map();
  /** @type {Map<string, number>} */
  #delivering = new Map();
  /** Ids of messages written on this page: a guest's user id changes with every socket. */
  #written = new Set();
  /** @type {Set<() => void>} */
  #awaiting = new Set();

  /**
   * @param {string} url of the socket
   * @param {Login} login
   * @param {(change: Change) => void} notify
   */
  constructor(url, login, notify) {
    this.#url = url;
    this.#login = login;
    this.#notify = notify;
  }

  get guest() {
    return this.#login.guest;
  }

  /** The server's time, nearly. */
  now() {
    return Date.now() + this.#skew_ms;
  }

  /** Connects, and stays connected until {@link stop}. */
  start() {
    void this.#connect();
  }

  /** Disconnects for good. */
  stop() {
    this.#end();
  }

  /** Tries now instead of after the wait. */
  hurry() {
    this.#link?.check();
    if (this.state !== "waiting") return;
    clearTimeout(this.#timer);
    void this.#connect();
  }

  /** @param {Sequenced} event */
  isOwn(event) {
    return event.sender.id === this.me?.id || (event.message_id !== undefined && this.#written.has(event.message_id));
  }

  // --- what people do -------------------------------------------------------------------------------------------------------

  /** Writes a message: it is shown at once and sent when that is possible. @param {Conversation} conversation @param {string} text */
  send(conversation, text) {
    const content = text.trim();
    if (!content || !this.outbox) return;
    const item = { message_id: this.#ids.next(), conversation: conversation.id, content, at_ms: this.now() };
    if (!this.outbox.add(item)) {
      this.#notify({ type: "notice", text: "Too many messages wait to be sent" });
      return;
    }
    this.#written.add(item.message_id);
    this.#changed(conversation);
    void this.#pump(conversation.id);
  }

  /** Sends a refused message again, under a new id. @param {Conversation} conversation @param {string} message_id */
  resend(conversation, message_id) {
    const item = this.outbox?.remove(message_id);
    if (item) this.send(conversation, item.content);
  }

  /** Gives up a message that wasn't sent. @param {Conversation} conversation @param {string} message_id */
  discard(conversation, message_id) {
    this.outbox?.remove(message_id);
    this.#changed(conversation);
  }

  /** @param {Conversation} conversation @param {Sequenced} entry @param {string} text */
  async edit(conversation, entry, text) {
    const content = text.trim();
    const reply = await this.command("edit", { conversation: conversation.id, message: entry.id, content });
    this.#applyReply(conversation, reply, { event: "edited", content, edited_at: reply.timestamp, ...target(entry) });
  }

  /** @param {Conversation} conversation @param {Sequenced} entry */
  async remove(conversation, entry) {
    const reply = await this.command("delete", { conversation: conversation.id, message: entry.id });
    this.#applyReply(conversation, reply, { event: "deleted", ...target(entry) });
  }

  /** Listens in a public room. @param {{name: string} | {conversation: string}} which @returns {Promise<Conversation>} */
  async listen(which) {
    return this.#listening(await this.command("room.listen", which));
  }

  /** @param {string} name @returns {Promise<Conversation>} */
  async createRoom(name) {
    const conversation = this.#learn((await this.command("room.create", { name })).conversation);
    return this.listen({ conversation: conversation.id });
  }

  /** @param {string} name @returns {Promise<Conversation>} */
  async createGroup(name) {
    return this.#learn((await this.command("group.create", { name })).conversation);
  }

  /** @param {string} id @returns {Promise<Conversation>} */
  async joinGroup(id) {
    return this.#learn((await this.command("group.join", { conversation: id })).conversation);
  }

  /** @param {string} name @returns {Promise<Conversation>} */
  async openChat(name) {
    return this.#learn((await this.command("chat.open", { with: name })).conversation);
  }

  /** Becomes a member of a room. @param {Conversation} conversation */
  async joinRoom(conversation) {
    this.#learn((await this.command("room.join", { conversation: conversation.id })).conversation);
  }

  /** Stops hearing a conversation: as a member, as a listener, or both. @param {Conversation} conversation */
  async leave(conversation) {
    const which = { conversation: conversation.id };
    if (conversation.member) await this.command(`${conversation.kind}.leave`, which);
    if (conversation.listening) await this.command("room.unlisten", which);
    this.#forget(conversation.id);
  }

  /** @returns {Promise<RoomRow[]>} */
  async rooms() {
    return (await this.#ask("rooms", { limit: 50 })).rooms;
  }

  /** @param {Conversation} conversation @returns {Promise<any[]>} members, at most 200 */
  async members(conversation) {
    return (await this.#ask("members", { conversation: conversation.id, limit: 200 })).members;
  }

  /** Says whether the user types. @param {Conversation} conversation @param {boolean} active */
  typing(conversation, active) {
    this.#ask("typing", { conversation: conversation.id, active }).catch(() => {});
  }

  /** Says that everything up to the position is on the screen. @param {Conversation} conversation */
  seen(conversation) {
    const seq = conversation.log.position;
    const moved = conversation.member && seq > conversation.read;
    if (conversation.unread === 0 && !moved) return;
    conversation.unread = 0;
    if (moved && this.#link) {
      const before = conversation.read;
      conversation.read = seq;
      conversation.delivered = Math.max(conversation.delivered, seq);
      this.#ask("read", { conversation: conversation.id, seq }).catch(() => {
        conversation.read = Math.min(conversation.read, before);
      });
    }
    this.#changed(conversation);
  }

  /** Loads the page before the window. @param {Conversation} conversation @returns {Promise<void>} */
  async loadOlder(conversation) {
    const before = conversation.from;
    const which = { conversation: conversation.id, before, limit: OLDER_PAGE };
    const page = await this.#ask("history", which).catch((error) => {
      if (error.code === "unknown_cursor") return null;
      throw error;
    });
    if (conversation.from !== before) return;
    if (page === null || !conversation.prepend(page)) return this.#reload(conversation);
    for (const event of page.events) this.#settle(event);
    this.#changed(conversation);
  }

  /** Asks what the list of conversations doesn't tell. @param {Conversation} conversation */
  refresh(conversation) {
    return this.#relearn(conversation.id);
  }

  /** Asks where the other one of a chat has got to. @param {Conversation} conversation */
  async loadPeer(conversation) {
    if (conversation.kind !== "direct") return;
    const members = await this.members(conversation);
    const other = members.find((member) => member.id !== this.me?.id);
    if (!other) return;
    conversation.peer.delivered = Math.max(conversation.peer.delivered, other.delivered);
    conversation.peer.read = Math.max(conversation.peer.read, other.read);
    if (conversation.with) Object.assign(conversation.with, { online: other.online ?? conversation.with.online });
    this.#changed(conversation);
  }

  /**
   * Asks for something that changes the server, and asks again (the same, under the same id) when the answer is lost.
   * @param {string} type @param {Record<string, unknown>} fields @returns {Promise<any>}
   */
  async command(type, fields) {
    const id = requestId();
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#ask(type, fields, id);
      } catch (error) {
        if (!(error instanceof RequestError) || !error.retryable || tries === TRIES || this.state === "ended") throw error;
        if (error.code === "disconnected") await this.#online();
        else await sleep(error.retry_after_ms ?? backoff(tries - 1));
      }
    }
  }

  /** Returns what is written on reconnecting. @returns {Record<string, {epoch: string, seq: number}>} */
  positions() {
    const kept = [...this.conversations.values()].filter((conversation) => conversation.member);
    return Object.fromEntries(kept.map(({ id, log }) => [id, { epoch: log.epoch, seq: log.position }]));
  }

  // --- the link -------------------------------------------------------------------------------------------------------------

  /** @param {string} type @param {Record<string, unknown>} fields @param {string} [id] @returns {Promise<any>} */
  #ask(type, fields, id) {
    return this.#link ? this.#link.request(type, fields, id) : Promise.reject(disconnected());
  }

  /** Waits for the next welcome, a while. @returns {Promise<void>} */
  #online() {
    if (this.state === "online") return Promise.resolve();
    return new Promise((resolve, reject) => {
      const welcomed = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#awaiting.delete(welcomed);
        reject(disconnected());
      }, 10_000);
      this.#awaiting.add(welcomed);
    });
  }

  /** @param {State} state */
  #become(state) {
    this.state = state;
    this.#notify({ type: "state" });
  }

  async #connect() {
    if (this.#next || this.state === "ended") return;
    if (!this.#link) this.#become("connecting");
    let credentials;
    try {
      credentials = await this.#login.credentials();
    } catch (error) {
      this.#refreshFailed(error);
      return;
    }
    if (this.#next || this.#over()) return;
    /** @type {Link} */
    const link = new Link(this.#url, {
      onOpen: () => void this.#hello(link, credentials),
      onEvent: (event) => this.#event(event),
      onClose: (code) => this.#closed(link, code),
    });
    this.#next = link;
  }

  /** @param {Link} link @param {Record<string, string>} credentials */
  async #hello(link, credentials) {
    const positions = Object.entries(this.positions());
    const first = Object.fromEntries(positions.slice(0, this.limits.positions));
    let welcome;
    try {
      welcome = await link.request("hello", { protocol: 1, client: CLIENT, positions: first, ...credentials });
    } catch (error) {
      if (!(error instanceof RequestError) || error.code === "disconnected") return;
      // The close that follows says the same, if it comes.
      link.close();
      if (this.guest && !error.retryable) this.#end(error.message);
      else this.#closed(link, HELLO_REFUSED[error.code] ?? 1011);
      return;
    }
    if (this.#next !== link) return;
    const old = this.#link;
    this.#next = null;
    this.#link = link;
    old?.close();
    await this.#welcomed(link, welcome, positions.slice(this.limits.positions));
  }

  /** @param {Link} link @param {any} welcome @param {[string, {epoch: string, seq: number}][]} unsaid positions */
  async #welcomed(link, welcome, unsaid) {
    this.#refreshed = false;
    clearTimeout(this.#settled);
    this.#settled = setTimeout(() => {
      this.#failures = 0;
    }, SETTLED_MS);
    this.#skew_ms = welcome.server_time - Date.now();
    this.me = welcome.user;
    this.limits = { ...this.limits, ...welcome.limits };
    if (!this.outbox) {
      const owner = this.guest ? `guest:${this.#login.name}` : welcome.user.id;
      this.outbox = new Outbox(this.guest ? sessionStorage : localStorage, owner);
      for (const conversation of this.outbox.conversations()) {
        for (const item of this.outbox.of(conversation)) this.#written.add(item.message_id);
      }
    }
    for (const outcome of welcome.resumed ?? []) this.#resumed(outcome);
    const gone = new Set([...this.conversations.values()].filter(({ member }) => member).map(({ id }) => id));
    for (const info of welcome.conversations) {
      gone.delete(info.id);
      this.#learn(info);
    }
    this.#become("online");
    this.#notify({ type: "conversations" });
    for (const wake of this.#awaiting) wake();
    this.#awaiting.clear();
    try {
      await this.#catchUp(link, welcome.next, gone, unsaid);
    } catch {
      // The link is gone, and the next one begins again; or the server refuses, and what is here has to do.
    }
    for (const conversation of this.outbox.conversations()) void this.#pump(conversation);
  }

  /**
   * @param {Link} link @param {string | undefined} next @param {Set<string>} gone memberships not listed yet
   * @param {[string, {epoch: string, seq: number}][]} unsaid
   */
  async #catchUp(link, next, gone, unsaid) {
    while (next) {
      const page = await link.request("conversations", { after: next, limit: this.limits.page });
      for (const info of page.conversations) {
        gone.delete(info.id);
        this.#learn(info);
      }
      next = page.next;
    }
    for (const id of gone) this.#left(id);
    for (let at = 0; at < unsaid.length; at += this.limits.positions) {
      const positions = Object.fromEntries(unsaid.slice(at, at + this.limits.positions));
      for (const outcome of (await link.request("resume", { positions })).resumed) this.#resumed(outcome);
    }
    for (const conversation of [...this.conversations.values()]) {
      if (conversation.listening) await this.#listenAgain(link, conversation);
      else if (conversation.kind === "direct") this.#received(conversation);
    }
    this.#notify({ type: "conversations" });
    void this.#preview();
  }

  /** Asks for the newest message of conversations of which it wasn't told: those with something unread and the longest first. */
  async #preview() {
    const unknown = [...this.conversations.values()].filter(({ last, log }) => last === undefined && log.position > 0);
    unknown.sort((a, b) => b.unread - a.unread || b.log.position - a.log.position);
    for (const { id } of unknown.slice(0, PREVIEWS_MAX)) {
      if (!this.#link) return;
      await this.#relearn(id);
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
      this.#forget(conversation.id);
    }
  }

  /** @param {Link} link @param {number} code */
  #closed(link, code) {
    if (link !== this.#link && link !== this.#next) return;
    const current = link === this.#link;
    if (current) this.#link = null;
    else this.#next = null;
    // While a node drains there are two; one is enough, until it closes as well.
    if (this.#over()) return;
    if (this.#next) {
      this.#become("connecting");
      return;
    }
    if (!current && this.#link && code < 4200) {
      // The old link still serves; while there is no other node, asking now and then is enough.
      this.#reconnect(DRAIN_RETRY_MS + backoff(0));
      return;
    }
    const then = afterClose(code, this.#failures);
    switch (then.do) {
      case "reconnect":
        this.#failures += 1;
        this.#reconnect(then.wait_ms);
        break;
      case "refresh":
        void this.#refresh();
        break;
      case "login":
        this.#end("You were logged out");
        break;
      case "outdated":
        this.#end("This page is too old for the server: reload it");
        break;
      default:
        this.#end("The server ended the connection");
    }
  }

  /** @param {number} wait_ms */
  #reconnect(wait_ms) {
    clearTimeout(this.#timer);
    clearTimeout(this.#settled);
    this.retry_at_ms = Date.now() + wait_ms;
    this.#timer = setTimeout(() => void this.#connect(), wait_ms);
    if (!this.#link) this.#become("waiting");
  }

  async #refresh() {
    if (this.#refreshed) {
      this.#end("Please log in again");
      return;
    }
    this.#refreshed = true;
    try {
      await this.#login.refresh();
      this.#reconnect(0);
    } catch (error) {
      this.#refreshFailed(error);
    }
  }

  /** @param {any} error */
  #refreshFailed(error) {
    if (error?.status === 401 || error?.status === 403) {
      this.#end("Please log in again");
      return;
    }
    this.#refreshed = false;
    this.#failures += 1;
    this.#reconnect(backoff(this.#failures));
  }

  #over() {
    return this.state === "ended";
  }

  /** @param {string} [text] why, when it isn't the user's doing */
  #end(text) {
    if (this.#over()) return;
    this.#become("ended");
    clearTimeout(this.#timer);
    this.#link?.close();
    this.#next?.close();
    this.#link = this.#next = null;
    if (text !== undefined) this.#notify({ type: "ended", text });
  }

  // --- events ---------------------------------------------------------------------------------------------------------------

  /** @param {any} event */
  #event(event) {
    const conversation = this.conversations.get(typeof event.conversation === "string" ? event.conversation : "");
    if (typeof event.seq === "number" && event.epoch !== undefined && event.event !== "gap") {
      if (conversation) this.#accept(conversation, event);
      return;
    }
    switch (event.event) {
      case "pointer":
        if (conversation) this.#pointer(conversation, event);
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
        void this.#added(event.conversation);
        break;
      case "conversation_removed":
        this.#left(event.conversation);
        break;
      case "gap":
        if (conversation) this.#gap(conversation, event);
        break;
      case "notification":
        this.#notify({ type: "notice", text: event.message });
        break;
      case "drain":
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => void this.#connect(), event.reconnect_after_ms);
        break;
      default:
    }
  }

  /** @param {Conversation} conversation @param {Sequenced} event */
  #accept(conversation, event) {
    const { applied, reset } = conversation.log.accept(event);
    if (reset) {
      void this.#reload(conversation);
      return;
    }
    this.#apply(conversation, applied);
    if (event.seq <= conversation.log.position) this.#settle(event);
    this.#watchHole(conversation);
  }

  /** @param {Conversation} conversation @param {Sequenced[]} events */
  #apply(conversation, events) {
    for (const event of events) {
      conversation.apply(event);
      this.#settle(event);
      if (event.event === "message") this.#notify({ type: "message", conversation, event });
    }
    if (events.length === 0) return;
    this.#received(conversation);
    this.#changed(conversation);
  }

  /** A message that is in the log needn't be sent any more. @param {Sequenced} event */
  #settle(event) {
    if (event.message_id !== undefined && this.outbox?.has(event.message_id) && this.isOwn(event)) {
      this.outbox.remove(event.message_id);
      this.#notify({ type: "state" });
    }
  }

  /**
   * @param {Conversation} conversation
   * @param {{epoch: string, seq: number, id: string, timestamp: number}} reply
   * @param {Partial<Sequenced> & {event: string}} rest
   */
  #applyReply(conversation, reply, rest) {
    const { epoch, seq, id, timestamp } = reply;
    const sender = { id: this.me?.id ?? "", name: this.me?.name ?? "" };
    this.#accept(conversation, { conversation: conversation.id, epoch, seq, id, timestamp, sender, ...rest });
  }

  /** @param {Conversation} conversation */
  #watchHole(conversation) {
    if (!conversation.log.hole || this.#holes.has(conversation.id)) return;
    const before = conversation.log.position;
    const timer = setTimeout(() => {
      this.#holes.delete(conversation.id);
      // While it shrinks (a replay on its way) nothing need be fetched.
      if (conversation.log.position === before) void this.#fill(conversation);
      else this.#watchHole(conversation);
    }, HOLE_MS);
    this.#holes.set(conversation.id, timer);
  }

  /** Fetches what is missing. @param {Conversation} conversation */
  async #fill(conversation) {
    if (this.#filling.has(conversation.id)) return;
    this.#filling.add(conversation.id);
    try {
      while (conversation.log.hole && this.#link) {
        const after = conversation.log.position;
        const page = await this.#ask("history", { conversation: conversation.id, after, limit: FILL_PAGE });
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
      else if (error instanceof RequestError && error.retryable) setTimeout(() => this.#watchHole(conversation), HOLE_MS);
    } finally {
      this.#filling.delete(conversation.id);
    }
  }

  /** @param {any} outcome one of `resumed` */
  #resumed(outcome) {
    const conversation = this.conversations.get(outcome.conversation);
    if (!conversation) return;
    const other = outcome.epoch !== conversation.log.epoch;
    if (outcome.outcome === "gone") {
      this.#forget(conversation.id);
    } else if (outcome.outcome === "reset" || other) {
      conversation.restart(outcome.epoch, outcome.head);
      this.#changed(conversation);
    } else if (outcome.outcome === "gap") {
      this.#gap(conversation, outcome);
    } else {
      conversation.log.expect(outcome.to);
      this.#watchHole(conversation);
    }
  }

  /** @param {Conversation} conversation @param {{epoch: string, from: number, to: number}} gap */
  #gap(conversation, gap) {
    if (gap.epoch !== conversation.log.epoch) {
      void this.#reload(conversation);
    } else if (gap.to - conversation.log.position > GAP_FILL_MAX) {
      conversation.restart(gap.epoch, gap.to);
      this.#changed(conversation);
      void this.#relearn(conversation.id);
    } else {
      conversation.log.expect(gap.to);
      void this.#fill(conversation);
    }
  }

  /** Begins again: the log is another one, or the position is void. @param {Conversation} conversation */
  async #reload(conversation) {
    const answer = await this.#ask("conversation", { conversation: conversation.id }).catch(() => null);
    if (!answer) return;
    const info = answer.conversation;
    if (info.epoch === conversation.log.epoch && conversation.log.position === info.head) return;
    conversation.restart(info.epoch, info.head);
    this.#learn(info);
  }

  /** Asks anew what only the server counts. @param {string} id */
  async #relearn(id) {
    const answer = await this.#ask("conversation", { conversation: id }).catch(() => null);
    if (answer) this.#learn(answer.conversation);
  }

  /** @param {Info} info @returns {Conversation} */
  #learn(info) {
    const whole = info.with || !info.users ? info : { ...info, with: info.users.find((user) => user.id !== this.me?.id) };
    let conversation = this.conversations.get(info.id);
    if (conversation) {
      conversation.learn(whole);
      if (info.epoch === conversation.log.epoch) conversation.log.expect(info.head);
      this.#watchHole(conversation);
    } else {
      conversation = new Conversation(whole, (event) => this.isOwn(event));
      this.conversations.set(info.id, conversation);
    }
    this.#changed(conversation);
    this.#notify({ type: "conversations" });
    return conversation;
  }

  /** @param {Info} info */
  async #added(info) {
    this.#learn(info).member = true;
    await this.#relearn(info.id);
  }

  /** @param {any} answer of `room.listen` @returns {Conversation} */
  #listening(answer) {
    const conversation = this.#learn(answer.conversation);
    conversation.listening = true;
    conversation.listeners = answer.listeners;
    conversation.listenerNames = answer.names;
    if (conversation.last === undefined && conversation.log.position > 0) void this.#relearn(conversation.id);
    if (answer.resumed) this.#resumed(answer.resumed);
    return conversation;
  }

  /** The user is no member any more. @param {string} id */
  #left(id) {
    const conversation = this.conversations.get(id);
    if (!conversation?.listening) {
      this.#forget(id);
      return;
    }
    conversation.member = false;
    this.#changed(conversation);
  }

  /** @param {string} id */
  #forget(id) {
    const unsent = this.outbox?.of(id) ?? [];
    for (const item of unsent) this.outbox?.remove(item.message_id);
    if (unsent.length > 0) this.#notify({ type: "notice", text: `Messages that weren't sent: ${unsent.length}` });
    if (!this.conversations.delete(id)) return;
    clearTimeout(this.#holes.get(id));
    this.#holes.delete(id);
    this.#notify({ type: "conversations" });
  }

  /** @param {Conversation} conversation @param {any} event */
  #pointer(conversation, event) {
    if (event.user.id !== this.me?.id) {
      conversation.peer.delivered = Math.max(conversation.peer.delivered, event.seq);
      if (event.pointer === "read") conversation.peer.read = Math.max(conversation.peer.read, event.seq);
    } else if (event.pointer === "read" && event.seq > conversation.read) {
      // Another device of ours.
      conversation.read = event.seq;
      if (event.seq >= conversation.log.position) conversation.unread = 0;
      else void this.#relearn(conversation.id);
    }
    this.#changed(conversation);
  }

  /** @param {Conversation} conversation @param {any} event */
  #typing(conversation, event) {
    conversation.typists = event.typists.filter((/** @type {string} */ name) => name !== this.me?.name);
    conversation.typists_until_ms = Date.now() + TYPING_SHOWN_MS;
    setTimeout(() => {
      if (conversation.lapse(Date.now())) this.#changed(conversation);
    }, TYPING_SHOWN_MS + 50);
    this.#changed(conversation);
  }

  /** @param {Conversation} conversation @param {any} event */
  #listener(conversation, event) {
    conversation.listeners = event.listeners;
    const others = conversation.listenerNames.filter((name) => name !== event.user.name);
    conversation.listenerNames = event.listening ? [...others, event.user.name] : others;
    this.#changed(conversation);
  }

  /** @param {any} event */
  #presence(event) {
    for (const conversation of this.conversations.values()) {
      const other = conversation.with;
      if (!other || other.id !== event.user.id) continue;
      Object.assign(other, { online: event.online, last_seen: event.last_seen });
      this.#changed(conversation);
    }
  }

  /** Says `delivered`, gathered over a moment. @param {Conversation} conversation */
  #received(conversation) {
    if (!conversation.member || this.guest || this.#delivering.has(conversation.id)) return;
    if (conversation.unread === 0 || conversation.log.position <= conversation.delivered) return;
    const timer = setTimeout(() => {
      this.#delivering.delete(conversation.id);
      const seq = conversation.log.position;
      if (seq <= conversation.delivered) return;
      const before = conversation.delivered;
      conversation.delivered = seq;
      this.#ask("delivered", { conversation: conversation.id, seq }).catch(() => {
        conversation.delivered = Math.min(conversation.delivered, before);
      });
    }, DELIVERED_GATHER_MS);
    this.#delivering.set(conversation.id, timer);
  }

  // --- the outbox -----------------------------------------------------------------------------------------------------------

  /** Sends a conversation's messages, one after the other, so that a refused one doesn't change their order. @param {string} id */
  async #pump(id) {
    if (this.#sending.has(id)) return;
    this.#sending.add(id);
    try {
      for (let failures = 0; this.outbox; ) {
        const item = this.outbox.next(id);
        const link = this.#link;
        if (!item || !link) return;
        try {
          const conversation = this.conversations.get(id) ?? (await this.listen({ conversation: id }));
          // A guest is another user after every reconnect: the replay decides whether the message got through.
          if (this.guest && conversation.log.hole) await sleep(HOLE_MS / 4);
          else await this.#sendOne(link, conversation, item);
          failures = 0;
        } catch (error) {
          if (!(error instanceof RequestError)) throw error;
          if (error.code === "disconnected") return;
          if (error.retryable) {
            await sleep(error.retry_after_ms ?? backoff(failures));
            failures += 1;
          } else {
            this.outbox.fail(item.message_id, error.message);
            const conversation = this.conversations.get(id);
            if (conversation) this.#changed(conversation);
            else this.#forget(id);
          }
        }
      }
    } finally {
      this.#sending.delete(id);
      // One that was written, or a link that came, while the last one ended.
      if (this.#link && this.outbox?.next(id)) setTimeout(() => void this.#pump(id), 0);
    }
  }

  /** @param {Link} link @param {Conversation} conversation @param {import("./outbox.js").Pending} item */
  async #sendOne(link, conversation, item) {
    const { message_id, content } = item;
    const reply = await link.request("send", { conversation: conversation.id, message_id, content });
    this.outbox?.stored(message_id);
    this.#applyReply(conversation, reply, { event: "message", message_id, content });
    this.#changed(conversation);
  }

  /** @param {Conversation} conversation */
  #changed(conversation) {
    this.#notify({ type: "changed", conversation });
  }
}

/** @param {Sequenced} entry */
function target(entry) {
  return { target: entry.id, target_seq: entry.seq };
}

// @ts-check
// One conversation as this page knows it: a window of its log without holes, from `from` up to the position, and what is said about
// it beside the log (unread, pointers, who types). Pure; told everything by the parts of `Client`.

import { Log } from "./log.js";

/**
 * @typedef {import("./log.js").Sequenced} Sequenced
 * @typedef {import("./log.js").Page} Page
 * @typedef {import("./log.js").Who} Who
 * @typedef {Who & {display_name?: string, online?: boolean, last_seen?: number}} Person
 * @typedef {{id: string, kind: "room" | "group" | "direct", name?: string, users?: Who[], with?: Person, created_at: number,
 *   epoch: string, head: number, oldest_seq?: number, role?: string, delivered?: number, read?: number, unread?: number,
 *   members?: number, listeners?: number, last?: Sequenced}} Info
 */

/** Entries kept of a conversation that nobody looks at. */
export const IDLE_MAX = 400;

const SHOWN = new Set(["message", "member_joined", "member_left"]);

/** What one page knows of one conversation. */
export class Conversation {
  /** Messages, joins and leaves in the window, ascending. @type {Sequenced[]} */
  entries = [];
  /** The newest edit or deletion of a message that came lately, for pages that were read before it. @type {Map<string, Sequenced>} */
  #changes = new Map();
  /** Whether nothing older exists. */
  complete = false;
  unread = 0;
  delivered = 0;
  read = 0;
  /** Where the other one of a chat has got to. */
  peer = { delivered: 0, read: 0 };
  /** Whether this socket listens (public rooms). */
  listening = false;
  /** @type {string[]} */
  listenerNames = [];
  /** @type {string[]} */
  typists = [];
  typists_until_ms = 0;
  /** First unread seq when the conversation was opened. */
  newFrom = 0;
  /** Unread is known up to here. */
  #countedTo = 0;

  /** @param {Info} info @param {(event: Sequenced) => boolean} isOwn whether the user here wrote it */
  constructor(info, isOwn = () => false) {
    this.isOwn = isOwn;
    this.id = info.id;
    this.kind = info.kind;
    this.log = new Log(info.epoch, info.head);
    /** Lowest seq of the window. */
    this.from = info.head + 1;
    this.member = false;
    this.name = "";
    /** @type {Sequenced | undefined} */
    this.last = undefined;
    this.members = 0;
    this.listeners = 0;
    this.created_at = info.created_at;
    /** @type {Person | undefined} */
    this.with = undefined;
    this.learn(info);
  }

  /** Takes what the server says about the conversation; the position stays. @param {Info} info */
  learn(info) {
    this.name = info.name ?? info.with?.name ?? this.name;
    if (info.with) this.with = { ...this.with, ...info.with };
    if (info.members !== undefined) this.members = info.members;
    if (info.listeners !== undefined) this.listeners = info.listeners;
    if (info.last && info.last.seq >= (this.last?.seq ?? 0)) this.last = info.last;
    if (info.role !== undefined) this.member = true;
    if (info.read !== undefined) this.read = Math.max(this.read, info.read);
    if (info.delivered !== undefined) this.delivered = Math.max(this.delivered, info.delivered);
    if (info.unread !== undefined) {
      // What was applied beyond the head that the answer knew counts, too.
      const later = this.entries.filter((entry) => entry.seq > info.head && this.#counts(entry));
      this.unread = info.unread + later.length;
      this.#countedTo = info.head;
    }
  }

  /** Starts again at the head of a log: what was kept is void. @param {string} epoch @param {number} head */
  restart(epoch, head) {
    if (epoch !== this.log.epoch) {
      this.delivered = this.read = 0;
      this.peer = { delivered: 0, read: 0 };
      this.last = undefined;
      this.#countedTo = 0;
    }
    this.log.reset(epoch, head);
    this.entries = [];
    this.#changes.clear();
    this.from = head + 1;
    this.complete = false;
  }

  /**
   * Applies an event that follows the position.
   * @param {Sequenced} event
   */
  apply(event) {
    if (event.event === "edited" || event.event === "deleted") {
      this.#change(event);
      return;
    }
    if (event.event === "member_joined") this.members += 1;
    if (event.event === "member_left") this.members = Math.max(0, this.members - 1);
    if (!SHOWN.has(event.event)) return;
    this.entries.push(event);
    if (event.event !== "message") return;
    this.last = event;
    this.typists = this.typists.filter((name) => name !== event.sender.name);
    if (this.#counts(event) && event.seq > this.#countedTo) this.unread += 1;
  }

  /** Puts an older page before the window. @param {Page} page @returns {boolean} false: the log is another one */
  prepend(page) {
    if (page.epoch !== this.log.epoch) return false;
    const events = page.events.filter((event) => event.seq < this.from);
    for (const event of events) if (event.event === "edited" || event.event === "deleted") this.#note(event);
    const shown = events.filter((event) => SHOWN.has(event.event));
    for (const event of shown) this.#renew(event);
    this.entries = shown.concat(this.entries);
    if (events.length > 0) this.from = events[0].seq;
    this.complete = page.complete || events.length === 0;
    if (this.last === undefined) this.last = shown.findLast((event) => event.event === "message");
    return true;
  }

  /** Forgets the older part of a long window, which can be fetched again. */
  trim() {
    if (this.entries.length <= IDLE_MAX) return;
    this.entries = this.entries.slice(-IDLE_MAX / 2);
    this.from = this.entries[0].seq;
    this.complete = false;
  }

  /** Forgets typists that said nothing for a while. @param {number} now_ms @returns {boolean} whether one was forgotten */
  lapse(now_ms) {
    if (this.typists.length === 0 || now_ms < this.typists_until_ms) return false;
    this.typists = [];
    return true;
  }

  /** When something last happened. */
  get activity_ms() {
    return this.last?.timestamp ?? this.created_at;
  }

  /** What to write above it. */
  get title() {
    return this.with?.display_name || this.name || "…";
  }

  /** @param {Sequenced} event */
  #counts(event) {
    return event.event === "message" && event.seq > this.read && !this.isOwn(event);
  }

  /** @param {Sequenced} event */
  #change(event) {
    this.#note(event);
    const entry = this.entries.find((entry) => entry.id === event.target);
    if (entry) this.#renew(entry);
    if (this.last && this.last.id === event.target) this.#renew(this.last);
  }

  /** @param {Sequenced} event */
  #note(event) {
    const target = event.target ?? "";
    if ((this.#changes.get(target)?.seq ?? 0) < event.seq) this.#changes.set(target, event);
    if (this.#changes.size > IDLE_MAX) this.#changes.delete(this.#changes.keys().next().value ?? "");
  }

  /** Gives a message its newest text. @param {Sequenced} entry */
  #renew(entry) {
    const change = this.#changes.get(entry.id);
    if (!change || entry.deleted) return;
    if (change.event === "deleted" || change.deleted) {
      entry.deleted = true;
      entry.content = "";
    } else if (change.content !== undefined && (change.edited_at ?? 0) >= (entry.edited_at ?? 0)) {
      entry.content = change.content;
      entry.edited_at = change.edited_at;
    }
  }
}

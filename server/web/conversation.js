// @ts-check
// One conversation as this page knows it: the position in its log, the part of it that is held, and what is said about it beside the
// log (unread, pointers, who types). Pure; told everything by the parts of `Client`.

import { Excerpt } from "./excerpt.js";
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
export const IDLE_MAX = 200;
/** Unread messages whose seq is remembered, for an answer that an event has overtaken. */
const COUNTED_MAX = 500;

/** What one page knows of one conversation. */
export class Conversation {
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
  /** First seq that was unread when the user last looked away; 0: nothing was. */
  newFrom = 0;
  /** Unread is known up to here. */
  #countedTo = 0;
  /** What was counted beyond that, ascending. @type {number[]} */
  #counted = [];

  /** @param {Info} info @param {(event: Sequenced) => boolean} isOwn whether the user here wrote it */
  constructor(info, isOwn = () => false) {
    this.isOwn = isOwn;
    this.id = info.id;
    this.kind = info.kind;
    this.log = new Log(info.epoch, info.head);
    this.excerpt = new Excerpt(info.head);
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
      this.#counted = this.#counted.filter((seq) => seq > info.head && seq > this.read);
      this.unread = info.unread + this.#counted.length;
      this.#countedTo = info.head;
    }
  }

  /** Starts again at the head of a log: what was kept is void. @param {string} epoch @param {number} head */
  restart(epoch, head) {
    if (epoch !== this.log.epoch) {
      this.delivered = this.read = 0;
      this.peer = { delivered: 0, read: 0 };
      this.last = undefined;
      this.newFrom = 0;
      this.#countedTo = 0;
      this.#counted = [];
    }
    this.log.reset(epoch, head);
    this.excerpt.restart(head);
  }

  /**
   * Applies an event that follows the position.
   * @param {Sequenced} event
   */
  apply(event) {
    this.excerpt.take(event);
    if (this.last && this.last.id === event.target) this.excerpt.renew(this.last);
    if (event.event === "member_joined") this.members += 1;
    if (event.event === "member_left") this.members = Math.max(0, this.members - 1);
    if (event.event !== "message") return;
    this.last = event;
    this.typists = this.typists.filter((name) => name !== event.sender.name);
    if (event.seq <= this.read || event.seq <= this.#countedTo || this.isOwn(event)) return;
    this.unread += 1;
    this.#counted.push(event.seq);
    if (this.#counted.length > COUNTED_MAX) this.#counted.shift();
  }

  /** Puts an older page before what is held. @param {Page} page @returns {boolean} false: the log is another one */
  prepend(page) {
    if (page.epoch !== this.log.epoch) return false;
    this.excerpt.prepend(page);
    if (this.last === undefined) this.last = this.entries.findLast((event) => event.event === "message");
    return true;
  }

  /** Forgets most of what is held when nobody looks at it: it can be fetched again. */
  trim() {
    if (this.excerpt.attached) this.excerpt.dropOldest(IDLE_MAX);
    else this.excerpt.restart(this.log.position);
  }

  /** Forgets typists that said nothing for a while. @param {number} now_ms @returns {boolean} whether one was forgotten */
  lapse(now_ms) {
    if (this.typists.length === 0 || now_ms < this.typists_until_ms) return false;
    this.typists = [];
    return true;
  }

  /** Says that everything was seen: nothing is unread, until more is said. @param {number} seq */
  saw(seq) {
    this.read = Math.max(this.read, seq);
    this.unread = 0;
    this.#counted = [];
  }

  /** When something last happened. */
  get activity_ms() {
    return this.last?.timestamp ?? this.created_at;
  }

  /** What to write above it. */
  get title() {
    return this.with?.display_name || this.name || "…";
  }

  /** What is held of the log. */
  get entries() {
    return this.excerpt.entries;
  }
}

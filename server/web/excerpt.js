// @ts-check
// The part of a conversation's log that this page holds: without holes, bounded, and moved along as one scrolls. It is *attached*
// while it reaches the position, so that live events belong to it; what is said while it isn't is fetched when it gets there. Pure.

/**
 * @typedef {import("./log.js").Sequenced} Sequenced
 * @typedef {import("./log.js").Page} Page
 */

/** Entries held of the conversation that is open. */
export const EXCERPT_MAX = 800;
/** Edits and deletions kept for pages that were read before them. */
const CHANGES_MAX = 400;

const SHOWN = new Set(["message", "member_joined", "member_left"]);

/** Some of the log, in order. */
export class Excerpt {
  /** Messages, joins and leaves, ascending. @type {Sequenced[]} */
  entries = [];
  /** Whether nothing older exists. */
  complete = false;
  attached = true;
  /** Highest seq that it covers; only while it isn't attached. */
  until = 0;
  /** The newest edit or deletion of a message that came lately, for pages that were read before it. @type {Map<string, Sequenced>} */
  #changes = new Map();

  /** @param {number} head */
  constructor(head) {
    /** Lowest seq that it covers. */
    this.from = head + 1;
  }

  /** Starts again, empty, at a position. @param {number} head */
  restart(head) {
    this.entries = [];
    this.#changes.clear();
    this.from = head + 1;
    this.complete = false;
    this.attached = true;
  }

  /** Takes an event that follows the position. @param {Sequenced} event @returns {Sequenced | undefined} the entry that it changed */
  take(event) {
    if (event.event === "edited" || event.event === "deleted") {
      this.#note(event);
      const entry = this.entries.find((entry) => entry.id === event.target);
      if (entry) this.renew(entry);
      return entry;
    }
    if (this.attached && SHOWN.has(event.event)) this.entries.push(event);
    return undefined;
  }

  /** Puts an older page before what is held. @param {Page} page */
  prepend(page) {
    const events = this.#read(page.events.filter((event) => event.seq < this.from));
    this.entries = events.filter(shown).concat(this.entries);
    if (events.length > 0) this.from = events[0].seq;
    this.complete = page.complete || events.length === 0;
  }

  /**
   * Puts a newer page behind what is held.
   * @param {Page} page @param {number} reached up to here the page leaves nothing out @param {number} position of the log
   */
  append(page, reached, position) {
    if (this.attached) return;
    const events = this.#read(page.events.filter((event) => event.seq > this.until && event.seq <= position));
    this.entries = this.entries.concat(events.filter(shown));
    this.#reach(Math.max(this.until, reached), position);
  }

  /**
   * Holds a page instead.
   * @param {Page} page @param {number} reached up to here the page leaves nothing out @param {number} position of the log
   */
  replace(page, reached, position) {
    const events = this.#read(page.events.filter((event) => event.seq <= position));
    this.entries = events.filter(shown);
    this.from = events.length > 0 ? events[0].seq : position + 1;
    this.complete = this.from <= Math.max(page.oldest_seq, 1);
    this.#reach(reached, position);
  }

  /** Forgets the oldest, which can be fetched again. @param {number} max entries to keep */
  dropOldest(max) {
    if (this.entries.length <= max) return;
    this.entries = this.entries.slice(-max);
    this.from = this.entries[0].seq;
    this.complete = false;
  }

  /** Forgets the newest, which can be fetched again. @param {number} max entries to keep */
  dropNewest(max) {
    if (this.entries.length <= max) return;
    this.entries = this.entries.slice(0, max);
    this.until = this.entries[max - 1].seq;
    this.attached = false;
  }

  /** Gives a message its newest text. @param {Sequenced} entry */
  renew(entry) {
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

  /** @param {number} reached @param {number} position */
  #reach(reached, position) {
    this.until = Math.min(reached, position);
    this.attached = reached >= position;
  }

  /** @param {Sequenced[]} events @returns {Sequenced[]} */
  #read(events) {
    for (const event of events) if (event.event === "edited" || event.event === "deleted") this.#note(event);
    for (const event of events) if (shown(event)) this.renew(event);
    return events;
  }

  /** @param {Sequenced} event */
  #note(event) {
    const target = event.target ?? "";
    if ((this.#changes.get(target)?.seq ?? 0) < event.seq) this.#changes.set(target, event);
    if (this.#changes.size > CHANGES_MAX) this.#changes.delete(this.#changes.keys().next().value ?? "");
  }
}

/** @param {Sequenced} event */
function shown(event) {
  return SHOWN.has(event.event);
}

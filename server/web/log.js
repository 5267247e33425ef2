// @ts-check
// The position in one conversation's log: native.md, section 5. Pure: no socket, no clock, no page.

/**
 * @typedef {{id: string, name: string}} Who
 * @typedef {{event: string, conversation: string, epoch: string, seq: number, id: string, timestamp: number, sender: Who,
 *   message_id?: string, content?: string, edited_at?: number, deleted?: boolean, target?: string, target_seq?: number}} Sequenced
 * @typedef {{epoch: string, events: Sequenced[], complete: boolean, oldest_seq: number, head: number}} Page
 */

/** Events kept beyond a hole; what is dropped beyond it is fetched with the hole. */
export const WAITING_MAX = 1000;

/** Up to where everything has come, and what has come too early. */
export class Log {
  /** @type {Map<number, Sequenced>} */
  #waiting = new Map();
  #expected = 0;

  /**
   * @param {string} epoch name of the log
   * @param {number} position last seq up to which everything has come
   */
  constructor(epoch, position) {
    this.epoch = epoch;
    this.position = position;
  }

  /**
   * Takes an event from wherever: live, replayed, made of a reply.
   * @param {Sequenced} event
   * @returns {{applied: Sequenced[], reset: boolean}} what is to be applied now, in order; `reset`: the log is another one
   */
  accept(event) {
    if (event.epoch !== this.epoch) return { applied: [], reset: true };
    if (event.seq <= this.position) return { applied: [], reset: false };
    if (event.seq > this.position + 1) {
      this.expect(event.seq);
      if (this.#waiting.size < WAITING_MAX) this.#waiting.set(event.seq, event);
      return { applied: [], reset: false };
    }
    return { applied: this.#advance(event), reset: false };
  }

  /**
   * Takes a page of `history` with `after` = the position.
   * @param {Page} page
   * @returns {{applied: Sequenced[], reset: boolean}}
   */
  acceptPage(page) {
    if (page.epoch !== this.epoch) return { applied: [], reset: true };
    const applied = this.#skipTo(page.oldest_seq - 1);
    for (const event of page.events) {
      // A page has no holes of its own; what it leaves out isn't there.
      applied.push(...this.#skipTo(event.seq - 1));
      if (event.seq === this.position + 1) applied.push(...this.#advance(event));
    }
    if (page.complete) applied.push(...this.#skipTo(page.head));
    return { applied, reset: false };
  }

  /** Says that the log goes at least up to `seq`. @param {number} seq */
  expect(seq) {
    this.#expected = Math.max(this.#expected, seq);
  }

  /** Whether something is known to be missing. */
  get hole() {
    return this.#expected > this.position;
  }

  /** Starts again at a position. @param {string} epoch @param {number} position */
  reset(epoch, position) {
    this.epoch = epoch;
    this.position = position;
    this.#expected = 0;
    this.#waiting.clear();
  }

  /** @param {Sequenced} event @returns {Sequenced[]} */
  #advance(event) {
    const applied = [event];
    this.position = event.seq;
    for (;;) {
      const next = this.#waiting.get(this.position + 1);
      if (!next) return applied;
      this.#waiting.delete(next.seq);
      this.position = next.seq;
      applied.push(next);
    }
  }

  /** @param {number} seq @returns {Sequenced[]} what waited and is now in order */
  #skipTo(seq) {
    /** @type {Sequenced[]} */
    const applied = [];
    if (seq <= this.position) return applied;
    for (const waiting of [...this.#waiting.keys()].sort((a, b) => a - b)) {
      if (waiting > seq + 1) break;
      const event = this.#waiting.get(waiting);
      this.#waiting.delete(waiting);
      if (event && waiting > this.position) applied.push(event);
      seq = Math.max(seq, waiting);
    }
    this.position = seq;
    return applied;
  }
}

// @ts-check
// A long list of which only the part around the screen is in the page. Nodes come and go a few at a time while one scrolls, and what
// is on the screen stays where it is. Knows nothing of messages.
//
// Asking where a node is right after the list has changed would have the browser lay out the page there and then, in the middle of a
// frame. So where nodes are is read before changes, and what has to stay is put back after the frame's own layout, which a
// `ResizeObserver` hears of before anything is painted.

import { sync } from "./dom.js";

/** So close to the end counts as the end, pixels. */
const END_PX = 48;
/** Nodes are made when less than this is left beyond the screen, and removed when more than `KEEP_PX` is, pixels. */
const MARGIN_PX = 1200;
const KEEP_PX = 2400;
/** Nodes at most. */
const NODES_MAX = 260;
/** Nodes made at once when another list is shown: a screenful. */
const START = 40;
/** More is asked for when so few items are left. */
const AHEAD = 150;
/** Making nodes may take this long in one frame, milliseconds. */
const FRAME_MS = 1.5;
const [STEP_MIN, STEP_MAX] = [3, 20];

/**
 * @template {{key: string}} Item
 * @typedef {{make: (item: Item) => HTMLElement, update: (node: HTMLElement, item: Item) => void, moved: () => void, older: () => void,
 *   newer: () => void, removing: (node: Element) => void}} Handlers
 *   `moved`: `atEnd` has changed; `older`, `newer`: little is left there; `removing`: a node with the focus goes
 */

/** @typedef {{node: Element, key: string, at: number}} Anchor `at`: pixels from where the list begins, whatever is scrolled meanwhile */

/**
 * @typedef {{anchor: Anchor | null, end: boolean}} Kept
 *   `end`: the end of the list is to stay on the screen, unless one scrolls up from it meanwhile; then, and else, `anchor` is to stay
 */

/** @template {{key: string}} Item */
export class VirtualLog {
  /** Whether the end is on the screen, and is to stay there. */
  atEnd = true;
  /** @type {Item[]} */
  items = [];
  #lo = 0;
  #hi = 0;
  #step = 8;
  #frame = 0;
  /** What is to be put back after the next layout. @type {Kept | null} */
  #kept = null;
  /** Whether a frame has passed without it being put back. */
  #waited = false;
  /** Part of a pixel. */
  #rest = 0;
  /** Where it was scrolled to when the end was last on the screen, pixels. */
  #endTop = 0;
  #scroller;
  #list;
  #handlers;

  /** @param {HTMLElement} scroller @param {HTMLElement} list in the scroller @param {Handlers<Item>} handlers */
  constructor(scroller, list, handlers) {
    this.#scroller = scroller;
    this.#list = list;
    this.#handlers = handlers;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // A keyboard on the screen, a growing composer, another window size: the end stays the end.
    new ResizeObserver(() => {
      if (this.atEnd && !this.#hasLeftEnd()) this.#scrollToEnd();
      this.#later();
    }).observe(scroller);
    new ResizeObserver(() => this.#putBack()).observe(list);
  }

  /** Whether the older half of the items is on the screen. */
  get inOlderHalf() {
    return this.#lo + this.#hi < this.items.length;
  }

  /** Shows another list, from its end. @param {Item[]} items */
  open(items) {
    this.items = items;
    this.#hi = items.length;
    this.#lo = Math.max(0, items.length - START);
    this.atEnd = true;
    this.#draw();
    this.#kept = null;
    this.#scrollToEnd();
    this.#later();
  }

  /** Shows what the list is now. @param {Item[]} items */
  show(items) {
    const before = this.items.slice(this.#lo, this.#hi);
    const places = new Map(items.map(({ key }, index) => [key, index]));
    const first = before.find(({ key }) => places.has(key));
    const last = before.findLast(({ key }) => places.has(key));
    // Before the layout of what was changed last, the page can't be asked again.
    const end = this.atEnd && (this.#kept?.end ?? !this.#hasLeftEnd());
    const known = this.#kept?.anchor && places.has(this.#kept.anchor.key) ? this.#kept.anchor : null;
    const kept = { anchor: known ?? this.#anchor(({ key }) => places.has(key)), end };
    this.items = items;
    if (!first || !last) {
      this.#hi = items.length;
      this.#lo = Math.max(0, items.length - START);
    } else {
      this.#lo = places.get(first.key) ?? 0;
      this.#hi = end ? items.length : (places.get(last.key) ?? 0) + 1;
      if (end) this.#lo = Math.max(this.#lo, this.#hi - NODES_MAX);
      else this.#hi = Math.min(this.#hi, this.#lo + NODES_MAX);
    }
    this.#draw();
    this.#kept = kept;
    this.#waited = false;
    this.#later();
  }

  /** Scrolls to the end of the list. */
  toEnd() {
    this.open(this.items);
    this.#handlers.moved();
  }

  /** Scrolls so that an item is at the top. @param {string} key @returns {boolean} false: there is none */
  toKey(key) {
    const at = this.items.findIndex((item) => item.key === key);
    if (at < 0) return false;
    this.#lo = Math.max(0, at - START / 2);
    this.#hi = Math.min(this.items.length, at + START);
    this.#draw();
    this.atEnd = false;
    this.#kept = null;
    const node = this.#list.children[at - this.#lo];
    this.#scroller.scrollTop += node.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top - 72;
    this.#scrolled();
    this.#handlers.moved();
    return true;
  }

  /** Returns the item of a node. @param {Element} node @returns {Item | undefined} */
  itemOf(node) {
    const at = [...this.#list.children].indexOf(node);
    return at < 0 ? undefined : this.items[this.#lo + at];
  }

  /** Whether an item is above the screen. @param {string} key */
  isAbove(key) {
    const at = this.items.findIndex((item) => item.key === key);
    if (at < this.#lo) return at >= 0;
    if (at >= this.#hi) return false;
    const node = this.#list.children[at - this.#lo];
    return node.getBoundingClientRect().bottom < this.#scroller.getBoundingClientRect().top;
  }

  #scrolled() {
    const atEnd = this.atEnd ? !this.#hasLeftEnd() : this.#isNearEnd();
    if (atEnd !== this.atEnd) {
      this.atEnd = atEnd;
      this.#handlers.moved();
    }
    this.#fill();
  }

  #later() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#fill());
  }

  /** Makes nodes that are near, removes those that are far. */
  #fill() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (this.#kept && !this.#waited) {
      // This frame's layout comes later.
      this.#waited = true;
      this.#later();
      return;
    }
    // Nobody heard of it, if the list is as high as it was.
    if (this.#kept) this.#putBack();
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    if (clientHeight === 0) return;
    const [above, below] = [scrollTop, scrollHeight - scrollTop - clientHeight];
    let [lo, hi] = [this.#lo, this.#hi];
    if (above < MARGIN_PX) lo = Math.max(0, lo - this.#step);
    if (below < MARGIN_PX) hi = Math.min(this.items.length, hi + this.#step);
    [lo, hi] = this.#near(lo, hi, above, below);
    if (hi - lo > NODES_MAX) [lo, hi] = above > below ? [hi - NODES_MAX, hi] : [lo, lo + NODES_MAX];
    if (lo !== this.#lo || hi !== this.#hi) {
      this.#move(lo, hi);
      this.#later();
    }
    if (this.#lo < AHEAD) this.#handlers.older();
    if (this.items.length - this.#hi < AHEAD) this.#handlers.newer();
  }

  /** Returns a range without what is far from the screen. @param {number} lo @param {number} hi @param {number} above @param {number} below pixels there */
  #near(lo, hi, above, below) {
    const nodes = this.#list.children;
    const height = (/** @type {number} */ index) => /** @type {HTMLElement} */ (nodes[index - this.#lo]).offsetHeight;
    // No more than there is below: else the browser would move the end of the list to the end of the screen by itself.
    for (let spare = above; lo < hi && spare > Math.max(KEEP_PX, above - below); lo += 1) {
      spare -= height(lo);
      if (spare < Math.max(KEEP_PX, above - below)) break;
    }
    for (let spare = below; hi > lo && spare > KEEP_PX; hi -= 1) {
      spare -= height(hi - 1);
      if (spare < KEEP_PX) break;
    }
    return [lo, hi];
  }

  /** @param {number} lo @param {number} hi */
  #move(lo, hi) {
    const from = performance.now();
    const made = Math.max(0, this.#lo - lo) + Math.max(0, hi - this.#hi);
    this.#kept = { anchor: this.#anchor(), end: this.atEnd && hi === this.items.length };
    this.#waited = false;
    [this.#lo, this.#hi] = [lo, hi];
    this.#draw();
    const took = performance.now() - from;
    if (made < this.#step) return;
    this.#step = Math.max(STEP_MIN, Math.min(STEP_MAX, took > FRAME_MS ? Math.floor(this.#step * 0.7) : this.#step + 1));
  }

  #draw() {
    const { make, update, removing } = this.#handlers;
    const focused = document.activeElement?.closest(".entries > *");
    sync(this.#list, this.items.slice(this.#lo, this.#hi), ({ key }) => key, make, update);
    if (focused && !focused.isConnected) removing(focused);
  }

  #scrollToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#endTop = this.#scroller.scrollTop;
  }

  #isNearEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const near = this.#hi === this.items.length && scrollHeight - scrollTop - clientHeight < END_PX;
    // Also by the browser itself, which doesn't leave a screen below the end when that gets larger, or the list shorter.
    // Elastic scrolling goes beyond the end, and comes back.
    if (near) this.#endTop = Math.min(scrollTop, scrollHeight - clientHeight);
    return near;
  }

  /**
   * Whether one who was at the end has scrolled up from it. That can be before the browser tells of it, and that the end is below the screen
   * doesn't say so: what came, and a smaller screen, have it there until it is put back.
   */
  #hasLeftEnd() {
    return !this.#isNearEnd() && this.#scroller.scrollTop < this.#endTop;
  }

  /** Returns a node on the screen, which is to stay. @param {(item: Item) => boolean} [stays] @returns {Anchor | null} */
  #anchor(stays = () => true) {
    const top = this.#scroller.getBoundingClientRect().top;
    const nodes = this.#list.children;
    let [at, after] = [0, nodes.length];
    while (at < after) {
      const middle = (at + after) >> 1;
      if (nodes[middle].getBoundingClientRect().bottom > top) after = middle;
      else at = middle + 1;
    }
    while (at < nodes.length && !stays(this.items[this.#lo + at])) at += 1;
    return at < nodes.length ? { node: nodes[at], key: this.items[this.#lo + at].key, at: this.#placeOf(nodes[at]) } : null;
  }

  /** Returns where a node ends in what is scrolled. @param {Element} node */
  #placeOf(node) {
    return node.getBoundingClientRect().bottom - this.#scroller.getBoundingClientRect().top + this.#scroller.scrollTop;
  }

  #putBack() {
    const kept = this.#kept;
    this.#kept = null;
    // Also when nothing was to be put back: letters that load late are higher.
    if ((kept ? kept.end : this.atEnd) && !this.#hasLeftEnd()) {
      this.#scrollToEnd();
    } else if (kept?.anchor?.node.isConnected) {
      const moved = this.#placeOf(kept.anchor.node) - kept.anchor.at;
      if (moved === 0) return;
      // Browsers scroll by whole pixels: what is left over is added next time, or it would sum up.
      const wanted = this.#scroller.scrollTop + moved + this.#rest;
      this.#scroller.scrollTop = wanted;
      const rest = wanted - this.#scroller.scrollTop;
      this.#rest = Math.abs(rest) < 1 ? rest : 0;
    }
  }
}

// @ts-check
// Kinds of actors; one kind opens to its busiest single actors and their state.

import { get } from "./api.js";
import { el, setText, sync } from "./dom.js";
import { count, percentile, rate, time } from "./format.js";
import { Table } from "./table.js";

export class ActorsView {
  #kind = "";
  /** @type {Map<string, { at: number, handled: number, buckets: number[] }>} */
  #before = new Map();

  constructor() {
    this.kinds = new Table("Kinds of actors", [["Kind"], ["Live", "number"], ["Waiting", "number", "Messages in all mailboxes"],
      ["Fullest", "number", "Messages in the fullest mailbox, of its bound"], ["Rate", "number", "Messages handled per second"],
      ["p50", "number", "Handler time"], ["p99", "number", "Handler time"], ["Refused", "number", "By full mailboxes, since the start"],
      ["Restarts", "number", "After a panic, since the start"]], "No actors.");
    this.title = el("h2");
    this.messages = new Table("Messages of this kind", [["Message"], ["Handled", "number"], ["Time in handlers", "number"], ["p50", "number"], ["p99", "number"]], "Nothing was handled yet.");
    this.list = el("ol", { class: "states" });
    this.one = el("section", { class: "panel wide", hidden: true, "aria-live": "off" }, this.title,
      el("p", {}, el("a", { href: "#actors", text: "Close" })), this.messages.node, el("h3", { text: "The busiest, with their state" }), this.list);
    this.node = el("div", { class: "view" }, el("section", { class: "panel wide" }, el("h2", { text: "Actors" }), this.kinds.node), this.one);
  }

  /** @param {string} kind */
  open(kind) {
    this.#kind = kind;
    this.one.hidden = true;
  }

  async refresh() {
    const { kinds, buckets_us } = await get("actors");
    this.kinds.show(kinds.map((/** @type {any} */ kind) => this.#row(kind, buckets_us)));
    const asked = this.#kind;
    if (asked === "") return;
    const { kind, busiest } = await get(`actors?top=8&kind=${encodeURIComponent(asked)}`);
    if (asked !== this.#kind) return;
    setText(this.title, `${kind.kind}: ${count(kind.live)} live`);
    this.messages.show(kind.messages.toSorted((/** @type {any} */ a, /** @type {any} */ b) => b.handler_s - a.handler_s).map((/** @type {any} */ one) => ({
      key: one.message,
      cells: [one.message, count(one.handled), time(one.handler_s * 1000), one.p50_us === null ? "–" : `≤ ${time(one.p50_us / 1000)}`, one.p99_us === null ? "–" : `≤ ${time(one.p99_us / 1000)}`],
    })));
    sync(this.list, busiest.map((/** @type {any} */ actor, /** @type {number} */ at) => ({ actor, at })), ({ actor, at }) => keyOf(actor, at),
      () => el("li", {}, el("p", {}, el("a"), el("span")), el("pre", { tabindex: "0", role: "group", "aria-label": "State" })), (node, { actor }) => showActor(node, actor));
    this.one.hidden = false;
  }

  /** @param {any} kind @param {number[]} bounds */
  #row(kind, bounds) {
    const at = performance.now();
    const before = this.#before.get(kind.kind);
    const per_s = before && at - before.at > 100 ? ((kind.handled - before.handled) * 1000) / (at - before.at) : undefined;
    const lately = before ? kind.buckets.map((/** @type {number} */ count, /** @type {number} */ index) => count - before.buckets[index]) : kind.buckets;
    // Nothing came since the last look: what is known of all time is better than nothing.
    const counts = lately.some((/** @type {number} */ count) => count > 0) ? lately : kind.buckets;
    this.#before.set(kind.kind, { at, handled: kind.handled, buckets: kind.buckets });
    const [p50, p99] = [0.5, 0.99].map((share) => {
      const us = percentile(bounds, counts, share);
      return us === undefined ? "–" : time(us / 1000);
    });
    return {
      key: kind.kind,
      href: `#actors/${kind.kind}`,
      tone: /** @type {"chosen" | ""} */ (kind.kind === this.#kind ? "chosen" : ""),
      cells: [kind.kind, count(kind.live), count(kind.mailbox_depth), `${count(kind.mailbox_depth_max)} / ${count(kind.mailbox_bound)}`, rate(per_s), p50, p99, count(kind.refused), count(kind.restarts)],
    };
  }
}

/** @param {any} actor @param {number} at */
const keyOf = ({ state }, at) => state?.conversation ?? state?.slot ?? `${at}`;

/** @param {HTMLElement} node @param {any} actor */
function showActor(node, { state, mailbox_depth, handled_per_s }) {
  const [head, text] = /** @type {[HTMLElement, HTMLElement]} */ ([...node.children]);
  const [link, facts] = /** @type {[HTMLAnchorElement, HTMLElement]} */ ([...head.children]);
  const name = state?.name ?? state?.user ?? state?.conversation ?? state?.slot;
  link.hidden = state?.conversation === undefined;
  link.href = `#conversations/${state?.conversation}`;
  setText(link, String(name ?? ""));
  const label = link.hidden && name !== undefined && name !== null ? `${name} · ` : link.hidden ? "" : " · ";
  setText(facts, `${label}${rate(handled_per_s)} messages/s, ${count(mailbox_depth)} waiting`);
  setText(text, state === null ? "no answer in time" : JSON.stringify(state, null, 2));
}

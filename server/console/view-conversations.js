// @ts-check
// Conversations by rate; one opens and says what makes it busy.

import { get } from "./api.js";
import { el, pairs, setText } from "./dom.js";
import { clock, count, counted, rate } from "./format.js";
import { Table } from "./table.js";
import { confirmed } from "./view-actions.js";

export class ConversationsView {
  #id = "";
  #name = "";

  constructor() {
    this.table = new Table("Conversations by rate", [["Conversation"], ["Kind"], ["Events/s", "number", "Written per second"],
      ["Deliveries/s", "number", "Events times sockets that hear them"], ["Sockets", "number"], ["Members", "number"],
      ["Waiting", "number", "Messages in its mailbox, and events not yet durable"], ["Head", "number", "Position of its newest event"]], "No conversation is awake.");
    this.title = el("h2");
    this.sentence = el("p", { class: "sentence" });
    this.senders = new Table("Who wrote most lately", [["Sender"], ["Of the recent events", "number"], ["Share", "number"]], "Nothing was written lately.");
    this.facts = el("dl", { class: "pairs" });
    this.close = el("button", { type: "button", class: "danger", text: "Close room…", onclick: () => this.#closeRoom() });
    this.one = el("section", { class: "panel wide", hidden: true }, this.title, el("p", {}, el("a", { href: "#conversations", text: "All conversations" })),
      this.sentence, el("div", { class: "columns" }, el("div", {}, el("h3", { text: "Who writes" }), this.senders.node), el("div", {}, el("h3", { text: "State" }), this.facts)), this.close);
    this.all = el("section", { class: "panel wide" }, el("h2", { text: "Conversations awake here, by rate" }), this.table.node);
    this.node = el("div", { class: "view" }, this.one, this.all);
  }

  /** @param {string} id */
  open(id) {
    if (id !== this.#id) this.one.hidden = true;
    this.#id = id;
    this.all.hidden = id !== "";
  }

  async refresh() {
    const id = this.#id;
    if (id !== "") {
      const one = await get(`conversation/${encodeURIComponent(id)}`);
      if (id === this.#id) this.#show(one);
      return;
    }
    const { shown } = await get("conversations?limit=50");
    this.table.show(shown.filter((/** @type {any} */ row) => row.conversation !== undefined).map((/** @type {any} */ row) => ({
      key: row.conversation,
      href: `#conversations/${row.conversation}`,
      cells: [row.name ?? `${row.kind === "direct" ? "chat" : row.kind} ${row.conversation}`, row.kind, rate(row.events_per_s), rate(deliveries(row.events_per_s, row.sockets)),
        count(row.sockets), count(row.members), count(row.mailbox_depth + (row.pending ?? 0)), count(row.head)],
    })));
  }

  /** @param {any} one */
  #show(one) {
    this.#name = one.name ?? "";
    setText(this.title, one.name ?? `${one.kind} ${one.id}`);
    setText(this.sentence, sentence(one));
    const { awake, owner, stored } = one;
    const recent = awake?.recent_events ?? 0;
    this.senders.show((awake?.senders ?? []).map((/** @type {[string, number]} */ [name, events]) => ({
      key: name, cells: [name, count(events), `${count((events / recent) * 100)} %`],
    })));
    pairs(this.facts, [
      ["Kind", one.kind], ["Id", one.id], ["Shard", count(one.shard)],
      ["Owner", owner === null ? "nobody" : `node ${owner.node}${owner.here ? `, term ${owner.term}` : ""}`],
      ["Stored", stored === null ? "nothing" : `${counted(stored.messages, "message")}, positions ${count(stored.oldest_seq)} to ${count(stored.head)}`],
      ["Last event", clock(stored?.last_at_ms)],
      ["Phase", awake === null ? "asleep here" : awake.phase],
      ["Members", count(awake?.members)], ["Sockets", count(awake?.sockets)], ["Users listening", count(awake?.listening_users)],
      ["Waiting to be durable", awake === null ? "–" : `${count(awake.pending)}${awake.in_flight ? ", a write is under way" : ""}`],
      ["Places behind", count(awake?.behind_places)],
    ]);
    this.close.hidden = one.kind !== "room";
    this.one.hidden = false;
  }

  #closeRoom() {
    const room = this.#name;
    confirmed(`Close the room ${room}?`, "Everybody who listens is disconnected, and nobody may come back, read or write, until it is opened again.", room,
      "room/close", { room });
  }
}

/** @param {unknown} events_per_s @param {unknown} sockets */
const deliveries = (events_per_s, sockets) => (typeof events_per_s === "number" && typeof sockets === "number" ? events_per_s * sockets : undefined);

/** Says in words what makes a conversation busy. @param {any} one */
export function sentence({ awake, events_per_s }) {
  if (awake === null) return "It is asleep: nobody on this node has used it for a minute.";
  if (awake.phase !== "ready") return `It is ${awake.phase}.`;
  const senders = awake.senders ?? [];
  const of = senders.length === 0 ? "" : `${senders[0][0]} wrote ${count(senders[0][1])} of the ${count(awake.recent_events)} newest events. `;
  const heard = `${counted(awake.sockets, "socket")} hear${awake.sockets === 1 ? "s" : ""} it`;
  const many = deliveries(events_per_s, awake.sockets);
  const busy = typeof events_per_s === "number" && events_per_s > 0
    ? `${rate(events_per_s)} events per second are written; ${heard}, which makes about ${rate(many)} deliveries per second. `
    : `Nothing is being written at the moment; ${heard}. `;
  const waits = awake.behind_places > 0
    ? `${counted(awake.behind_places, "worker or node")} can't keep up with it.`
    : awake.pending > 0 ? `${counted(awake.pending, "event")} wait to be durable.` : "Nothing waits: it keeps up.";
  return busy + of + waits;
}

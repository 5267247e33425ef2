// @ts-check
// The node at a glance: curves, breakers, what was shed, the cluster.

import { get } from "./api.js";
import { Chart } from "./chart.js";
import { el, pairs } from "./dom.js";
import { bytes, count, percent, rate, span, time } from "./format.js";
import { Table } from "./table.js";

/** @type {[series: string, title: string, format: (value: unknown) => string, hint: string][]} */
const CHARTS = [
  ["messages_per_s", "Messages per second", rate, "Made durable"],
  ["frames_written_per_s", "Frames written per second", rate, "To sockets: events, answers and pings"],
  ["append_p99_ms", "Append, p99", time, "Time of a durable write, 99 of 100"],
  ["sockets", "Sockets", count, "Open now"],
  ["outbox_bytes", "Waiting in outboxes", bytes, "Written for readers and not yet read"],
  ["refused_per_s", "Refused per second", rate, "By full mailboxes, rates and spam rules"],
  ["shed_per_s", "Left out per second", rate, "Events that slow readers won't get"],
  ["cpu_percent", "Processor", percent, "100 % is one processor"],
  ["memory_bytes", "Memory", bytes, "Resident"],
];
const KEPT = 360;

export class OverviewView {
  /** @type {number[]} */
  #at = [];
  /** @type {Record<string, (number | null)[]>} */
  #values = {};

  constructor() {
    this.charts = CHARTS.map(([series, title, format, hint]) => ({ series, chart: new Chart(title, format, hint) }));
    this.breakers = el("dl", { class: "pairs" });
    this.load = el("dl", { class: "pairs" });
    this.shedding = el("dl", { class: "pairs" });
    this.shards = el("dl", { class: "pairs" });
    this.links = new Table("Links to other nodes", [["Node"], ["Link"], ["Kept frames", "number"], ["Kept", "number"], ["Resent", "number"], ["Downs", "number"]],
      "No other node is known.");
    this.cluster = el("section", { class: "panel wide", hidden: true }, el("h2", { text: "Cluster" }), this.shards, this.links.node);
    this.node = el("div", { class: "view" },
      el("section", { "aria-label": "The last 30 minutes" }, el("div", { class: "charts" }, ...this.charts.map(({ chart }) => chart.node))),
      el("div", { class: "panels" },
        el("section", { class: "panel" }, el("h2", { text: "Now" }), this.load),
        el("section", { class: "panel" }, el("h2", { text: "Breakers" }), this.breakers),
        el("section", { class: "panel" }, el("h2", { text: "Shed since the start" }), this.shedding), this.cluster));
  }

  /** @param {any} overview */
  async refresh(overview) {
    this.#now(overview);
    this.#cluster(overview.cluster);
    const history = await get(`history?after_ms=${this.#at.at(-1) ?? 0}`);
    this.#at = [...this.#at, ...history.at_ms].slice(-KEPT);
    for (const { series, chart } of this.charts) {
      const values = [...(this.#values[series] ?? []), ...history.series[series].values].slice(-KEPT);
      this.#values[series] = values;
      chart.show(this.#at, values);
    }
  }

  /** @param {any} overview */
  #now({ sockets, outbox, conversations, breakers, shedding, node }) {
    const dialects = Object.entries(sockets.by_dialect).filter(([, open]) => Number(open) > 0).map(([name, open]) => `${open} ${name}`);
    pairs(this.load, [
      ["Sockets", `${count(sockets.open)}${dialects.length > 0 ? ` (${dialects.join(", ")})` : ""}`],
      ["Users", count(sockets.users)],
      ["Conversations awake", count(conversations.awake)],
      ["Rooms listed", `${count(conversations.rooms)}, ${count(conversations.listeners)} listening`],
      ["Waiting for readers", `${bytes(outbox.bytes)} in ${count(outbox.frames)} frames`],
      ["Memory", bytes(node.memory_bytes)],
      ["Worker threads", count(node.workers)],
    ]);
    pairs(this.breakers, breakers.map((/** @type {any} */ { store, state }) => [store, state === "CLOSED" ? "closed: all is well" : state]));
    pairs(this.shedding, [
      ["Refused by mailboxes", count(shedding.mailbox_refused)],
      ["Refused for a rate", count(shedding.rate_limited)],
      ["Refused as spam", count(shedding.spam)],
      ["Malformed frames", count(shedding.malformed)],
      ["Typing and presence dropped", count(shedding.ephemeral_dropped)],
      ["Events left out (gaps)", `${count(shedding.events_in_gaps)} (${count(shedding.gaps)})`],
      ["Closed as slow", count(shedding.slow_closes)],
    ]);
  }

  /** @param {any} cluster */
  #cluster(cluster) {
    this.cluster.hidden = cluster === null;
    if (cluster === null) return;
    const { keeper, shards_of, links } = cluster;
    const left = keeper?.lease_left_ms;
    pairs(this.shards, [
      ["Lease ends in", left === undefined || left === null ? "–" : span(left / 1000)],
      ...Object.entries(shards_of).map(([node, shards]) => /** @type {[string, string]} */ ([node === "nobody" ? "Nobody's shards" : `Shards of node ${node}`, count(shards)])),
      ["Lost, gained, handed over", `${count(keeper?.lost)}, ${count(keeper?.gained)}, ${count(keeper?.handed_over)}`],
    ]);
    this.links.show(links.filter(Boolean).map((/** @type {any} */ link) => ({
      key: String(link.node),
      tone: link.link === "up" ? "" : "bad",
      cells: [`node ${link.node}`, link.link, count(link.frames_kept), bytes(link.bytes_kept), count(link.envelopes_resent), count(link.downs)],
    })));
  }
}

// @ts-check
// Sockets, the slow ones first.

import { get } from "./api.js";
import { el, setText } from "./dom.js";
import { bytes, count, counted, span, time } from "./format.js";
import { Table } from "./table.js";
import { confirmed } from "./view-actions.js";

export class SocketsView {
  constructor() {
    this.summary = el("p", { class: "sentence" });
    this.sort = el("select", { id: "sort", onchange: () => document.dispatchEvent(new Event("acted")) },
      el("option", { value: "lag", text: "slow readers, longest wait" }), el("option", { value: "outbox", text: "bytes waiting" }));
    this.table = new Table("Sockets", [["User"], ["Slow"], ["Oldest waits", "number", "Since the oldest event that it hasn't been sent"], ["Waiting", "number", "Bytes in its outbox"],
      ["Frames", "number"], ["Dialect"], ["Address"], ["Connected", "number"], ["Socket"], ["Actions"]], "No socket is open.");
    this.node = el("div", { class: "view" }, el("section", { class: "panel wide" }, el("h2", { text: "Sockets" }), this.summary,
      el("p", {}, el("label", { for: "sort", text: "First: " }), this.sort), this.table.node));
  }

  /** @param {any} overview */
  async refresh({ at_ms }) {
    const { sockets, slow, outbox_bytes, shown } = await get(`sockets?limit=100&sort=${this.sort.value}`);
    const names = shown.filter((/** @type {any} */ one) => one.slow !== null).map((/** @type {any} */ one) => one.user ?? one.socket);
    const named = names.length === 0 ? "" : `: ${names.slice(0, 5).join(", ")}${slow > 5 ? " and others" : ""}`;
    setText(this.summary, `${counted(sockets, "socket")}; ${bytes(outbox_bytes)} wait for their readers. ${slow === 0 ? "Nobody reads slowly." : `${counted(slow, "slow reader")}${named}.`}`);
    this.table.show(shown.map((/** @type {any} */ one) => ({
      key: one.socket,
      tone: one.slow === null ? "" : "bad",
      cells: [`${one.user ?? "not logged in"}${one.guest === true ? " (guest)" : ""}`, one.slow ?? (one.closing ? "closing" : "no"), one.outbox_frames === 0 ? "–" : time(one.lag_ms),
        bytes(one.outbox_bytes), `${count(one.outbox_frames)}${one.gaps > 0 ? ` + ${counted(one.gaps, "gap")}` : ""}`, one.dialect, one.address ?? "–",
        span((at_ms - one.opened_at_ms) / 1000), one.socket, this.#buttons(one)],
    })));
  }

  /** @param {any} one */
  #buttons(one) {
    const kick = () => confirmed(`Close the socket of ${one.user ?? one.socket}?`, "Its client is told to log in again.", one.socket, "kick", { socket: one.socket }, "plain");
    const ban = () => confirmed(`Ban ${one.user}?`, "All its sockets are closed, and it can't log in until the ban is lifted.", one.user, "ban", { user: one.user });
    return el("span", { class: "buttons" },
      el("button", { type: "button", text: "Kick…", "aria-label": `Kick ${one.user ?? one.socket}`, onclick: kick }),
      one.user && one.guest !== true && el("button", { type: "button", class: "danger", text: "Ban…", "aria-label": `Ban ${one.user}`, onclick: ban }));
  }
}

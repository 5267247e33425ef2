// @ts-check
// What an operator does, each confirmed, and the log of it.

import { act, get } from "./api.js";
import { el, setText } from "./dom.js";
import { clock, sameText } from "./format.js";
import { Table } from "./table.js";

const dialog = /** @type {HTMLDialogElement} */ (document.querySelector("#confirm"));
const said = /** @type {HTMLElement} */ (document.querySelector("#said"));

/**
 * Asks whether something is meant, and does it.
 * @param {string} question @param {string} effect @param {string} target what `confirm` must repeat
 * @param {string} path @param {Record<string, string>} fields @param {"typed" | "plain"} [how] whether the target must be typed
 */
export function confirmed(question, effect, target, path, fields, how = "typed") {
  const input = el("input", { name: "confirm", autocomplete: "off", spellcheck: "false", required: true });
  const go = el("button", { type: "submit", class: "danger", text: "Yes, do it", disabled: how === "typed" });
  const problem = el("p", { class: "problem", role: "alert" });
  input.addEventListener("input", () => (go.disabled = !sameText(input.value, target)));
  const form = el("form", { method: "dialog" }, el("h2", { id: "question", text: question }), el("p", { text: effect }),
    how === "typed" && el("label", {}, el("span", { text: `Type ${target} to confirm` }), input), problem,
    el("p", { class: "buttons" }, el("button", { type: "button", text: "Cancel", onclick: () => dialog.close() }), go));
  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      setText(said, await act(path, { ...fields, confirm: target }));
      dialog.close();
      document.dispatchEvent(new Event("acted"));
    } catch (error) {
      setText(problem, String(/** @type {Error} */ (error).message));
      go.disabled = false;
    }
  });
  dialog.replaceChildren(form);
  dialog.showModal();
}

/** @param {string} title @param {string} label @param {Node[]} buttons @param {HTMLElement} input @param {string} hint */
const form = (title, label, input, buttons, hint) => el("form", { class: "panel", onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
  el("h2", { text: title }), el("label", {}, el("span", { text: label }), input), el("p", { class: "hint", text: hint }), el("p", { class: "buttons" }, ...buttons));

export class ActionsView {
  #node = "";

  constructor() {
    const user = el("input", { autocomplete: "off", maxlength: 64 });
    const room = el("input", { autocomplete: "off", maxlength: 64 });
    const message = el("textarea", { rows: 2, maxlength: 4096 });
    /** @param {any} input @param {string} text @param {(value: string) => void} run @param {string} [kind] */
    const button = (input, text, run, kind = "") => el("button", { type: "button", class: kind, text, onclick: () => {
      const value = input.value.trim();
      if (value === "") input.focus();
      else run(value);
    } });
    this.log = new Table("Audit log", [["When"], ["Action"], ["Target"], ["Outcome"], ["Detail"], ["Who"], ["Address"]], "No operator has acted yet.");
    this.node = el("div", { class: "view" }, el("div", { class: "panels" },
      form("A user", "Name", user, [
        button(user, "Kick…", (name) => confirmed(`Kick ${name}?`, "All its sockets are closed, on all nodes; logging in again is allowed.", name, "kick", { user: name })),
        button(user, "Ban…", (name) => confirmed(`Ban ${name}?`, "All its sessions end, and it can't log in until the ban is lifted.", name, "ban", { user: name }), "danger"),
        button(user, "Lift ban…", (name) => confirmed(`Lift the ban of ${name}?`, "It may log in again.", name, "unban", { user: name })),
      ], "An account, or a guest who is here now (guests can only be kicked)."),
      form("A room", "Name", room, [
        button(room, "Close…", (name) => confirmed(`Close the room ${name}?`, "Everybody who listens is disconnected, and nobody may come back, read or write, until it is opened again.", name, "room/close", { room: name }), "danger"),
        button(room, "Open…", (name) => confirmed(`Open the room ${name} again?`, "Everybody may use it again.", name, "room/open", { room: name })),
      ], "A public room that this node owns."),
      form("Everybody", "Message", message, [
        button(message, "Broadcast…", (text) => confirmed("Tell everybody?", `“${text}” goes to everybody who is connected, on all nodes.`, "everybody", "broadcast", { message: text })),
      ], "Shown as a notification."),
      el("section", { class: "panel" }, el("h2", { text: "This node" }), el("p", { class: "hint", text: "Its sockets are told to go elsewhere, what was acknowledged is written, then it stops: as by SIGTERM." }),
        el("p", { class: "buttons" }, el("button", { type: "button", class: "danger", text: "Drain…", onclick: () => confirmed(`Drain ${this.#node}?`,
          "It takes no new sockets, sends its clients away and stops. Whoever started it must start it again.", this.#node, "drain", {}) })))),
    el("section", { class: "panel wide" }, el("h2", { text: "Audit log" }), this.log.node));
  }

  /** @param {any} overview */
  async refresh({ node }) {
    this.#node = node.name;
    const { entries } = await get("audit");
    this.log.show(entries.map((/** @type {any} */ entry) => ({
      key: entry.id,
      tone: entry.outcome === "done" ? "" : "bad",
      cells: [`${new Date(entry.at_ms).toLocaleDateString()} ${clock(entry.at_ms)}`, entry.action, entry.target, entry.outcome, entry.detail ?? "", entry.by, entry.address],
    })));
  }
}

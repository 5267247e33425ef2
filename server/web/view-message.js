// @ts-check
// What one item of a conversation looks like, and what can be done with a message: the toolbar, of which there is one, beside the
// message under the pointer or the focus.

import { avatar, el, icon, iconButton } from "./dom.js";
import { formatDay, formatTime, t } from "./i18n.js";
import { render } from "./markup.js";

/** A button that asks once more asks for this long. */
const CONFIRM_MS = 3000;

/**
 * @typedef {import("./items.js").Item} Item
 * @typedef {import("./items.js").Stage} Stage
 * @typedef {{copy: (item: Item) => void, quote: (item: Item) => void, edit: (item: Item) => void, remove: (item: Item) => void,
 *   retry: (item: Item) => void, discard: (item: Item) => void}} Actions
 */

/** @param {Item} item */
export function makeNode(item) {
  return el("li", { class: item.kind, tabindex: item.kind === "message" ? -1 : undefined });
}

/** What a node shows, to be made anew only when that changes. @type {WeakMap<Element, string>} */
const shown = new WeakMap();

/** @param {HTMLElement} node @param {Item} item @param {number} now_ms @param {Actions} actions */
export function updateNode(node, item, now_ms, actions) {
  if (item.kind === "day") {
    showText(node, formatDay(item.at_ms, now_ms));
  } else if (item.kind === "new") {
    showText(node, t("thread.new"));
  } else if (item.kind === "note") {
    showText(node, t(item.entry?.event === "member_joined" ? "thread.joined" : "thread.left", { name: item.name }));
  } else {
    const looks = [item.first, item.last, item.stage, item.edited, item.deleted, item.error, item.name, item.text].join(" ");
    if (shown.get(node) === looks) return;
    shown.set(node, looks);
    showMessage(node, item, actions);
  }
}

/** @param {HTMLElement} node @param {string} text */
function showText(node, text) {
  if (shown.get(node) === text) return;
  shown.set(node, text);
  node.replaceChildren(el("span", { text, dir: "auto" }));
}

/** @param {HTMLElement} node @param {Item} item @param {Actions} actions */
function showMessage(node, item, actions) {
  node.className = ["message", item.own && "own", item.first && "first", item.last && "last", item.deleted && "deleted",
    item.stage === "failed" && "failed"].filter(Boolean).join(" ");
  const time = formatTime(item.at_ms);
  const text = el("div", { class: "text", dir: "auto" });
  if (item.deleted) text.append(el("em", { text: t("message.deleted") }));
  else text.append(render(item.text));
  const bubble = el("div", { class: "bubble" });
  if (item.first && item.named) bubble.append(el("bdi", { class: "name", title: `@${item.username}`, text: item.name }));
  else bubble.append(el("span", { class: "hidden", text: item.own ? t("message.own", { time }) : t("message.from", { name: item.name, time }) }));
  const meta = el("span", { class: "meta" });
  if (item.edited && !item.deleted) meta.append(el("span", { class: "edited", text: t("message.edited") }));
  meta.append(el("time", { datetime: new Date(item.at_ms).toISOString(), text: time }));
  const mark = stageMark(item.stage);
  if (mark) meta.append(mark);
  bubble.append(text, meta);
  const parts = [];
  if (item.named) parts.push(item.first ? avatar(item.username) : el("span", { class: "avatar empty" }));
  parts.push(bubble);
  if (item.stage === "failed") {
    parts.push(el("div", { class: "error" }, el("span", { text: `${t("message.failed")}: ${item.error}`, dir: "auto" }),
      el("button", { type: "button", class: "small", text: t("message.retry"), onclick: () => actions.retry(item) }),
      el("button", { type: "button", class: "small", text: t("message.discard"), onclick: () => actions.discard(item) })));
  }
  const focused = node.contains(document.activeElement);
  node.replaceChildren(...parts);
  if (focused) node.focus({ preventScroll: true });
}

/** @param {Stage} stage */
function stageMark(stage) {
  if (stage === "" || stage === "failed") return null;
  const label = t(`message.${stage}`);
  return el("span", { class: `stage ${stage}`, title: label }, icon({ sending: "clock", stored: "check", delivered: "checks", read: "checks" }[stage], label));
}

/** The buttons of one message at a time. */
export class Toolbar {
  #actions;
  /** @type {Item | null} */
  #item = null;
  #root;
  #edit;
  #delete;
  #sure = 0;

  /** @param {Actions} actions */
  constructor(actions) {
    this.#actions = actions;
    const tool = (/** @type {string} */ name, /** @type {"copy" | "quote" | "edit"} */ action) =>
      iconButton(name, t(`message.${action}`), () => this.#item && actions[action](this.#item));
    this.#edit = tool("edit", "edit");
    this.#delete = iconButton("trash", t("message.delete"), () => this.#remove());
    this.#root = el("div", { class: "tools", role: "toolbar", "aria-label": t("message.actions"), onkeydown: (/** @type {KeyboardEvent} */ event) => this.#pressed(event) },
      tool("copy", "copy"), tool("quote", "quote"), this.#edit, this.#delete);
  }

  /** Whether the buttons are beside a message. @param {Element} node */
  isAt(node) {
    return this.#root.parentElement === node;
  }

  /** Puts the buttons beside a message. @param {Element} node @param {Item} item */
  moveTo(node, item) {
    if (this.#root.contains(document.activeElement)) return;
    // One that isn't stored yet, or isn't there any more, has nothing that could be done with it.
    if (!item.entry || item.deleted) return this.leave();
    const moved = this.#root.parentElement !== node;
    if (!moved && this.#item === item) return;
    this.#item = item;
    this.#unsure();
    this.#edit.hidden = this.#delete.hidden = !item.own;
    for (const button of this.#root.children) button.tabIndex = button === this.#root.firstElementChild ? 0 : -1;
    if (!moved) return;
    if (item.own) node.prepend(this.#root);
    else node.querySelector(".bubble")?.after(this.#root);
  }

  /** Goes away. */
  leave() {
    this.#item = null;
    this.#root.remove();
  }

  /** Puts the focus on the first button. @param {Element} node of the message @param {"first" | "delete"} which */
  focus(node, which = "first") {
    if (this.#root.parentElement !== node) return;
    if (which === "first") /** @type {HTMLElement} */ (this.#root.firstElementChild).focus();
    else if (!this.#delete.hidden) this.#delete.focus();
  }

  #remove() {
    if (this.#sure === 0) {
      this.#delete.replaceChildren(el("span", { text: t("message.sure") }));
      this.#delete.classList.add("sure");
      this.#sure = setTimeout(() => this.#unsure(), CONFIRM_MS);
      return;
    }
    const [item, node] = [this.#item, this.#root.parentElement];
    this.#unsure();
    node?.focus();
    if (item) this.#actions.remove(item);
  }

  #unsure() {
    clearTimeout(this.#sure);
    if (this.#sure === 0) return;
    this.#sure = 0;
    this.#delete.replaceChildren(icon("trash"));
    this.#delete.classList.remove("sure");
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      this.#root.parentElement?.focus();
    } else if (step !== undefined) {
      event.preventDefault();
      const buttons = [...this.#root.children].filter((button) => !button.hidden);
      const forward = getComputedStyle(this.#root).direction === "rtl" ? -step : step;
      const at = buttons.indexOf(document.activeElement);
      const next = buttons[(at + forward + buttons.length) % buttons.length];
      for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
      next.focus();
    }
  }
}

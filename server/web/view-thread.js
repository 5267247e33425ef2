// @ts-check
// The main pane: one conversation's head, its messages, and the composer below.

import { avatar, el, iconButton, setText } from "./dom.js";
import { formatAgo, formatFull, formatNumber, plural, t } from "./i18n.js";
import { EXCERPT_MAX } from "./excerpt.js";
import { NEW_KEY, itemsOf } from "./items.js";
import { Composer } from "./view-composer.js";
import { VirtualLog } from "./view-log.js";
import { Toolbar, makeNode, updateNode } from "./view-message.js";

/** After a page that couldn't be loaded, unless the server says another time. */
const RETRY_MS = 2000;
/** Names said of those who type. */
const TYPISTS_MAX = 3;

/**
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./items.js").Item} Item
 * @typedef {import("./protocol.js").Client} Client
 * @typedef {{back: () => void, copyLink: (conversation: Conversation) => void, leave: (conversation: Conversation) => void,
 *   join: (conversation: Conversation) => void, people: (conversation: Conversation) => void, copy: (text: string) => void,
 *   failed: (error: unknown) => void}} Actions
 */

/** The pane. */
export class Thread {
  /** @type {Client | null} */
  client = null;
  /** @type {Conversation | null} */
  current = null;
  /** The conversation of which a page is on its way. @type {Conversation | null} */
  #loading = null;
  #failed = false;
  /** The message that is being edited. @type {Item | null} */
  #editing = null;
  #log;
  #toolbar;
  #actions;

  /** @param {HTMLElement} root @param {Actions} actions */
  constructor(root, actions) {
    this.#actions = actions;
    const withCurrent = (/** @type {(conversation: Conversation) => void} */ then) => () => this.current && then(this.current);
    this.picture = el("span", { class: "picture" });
    this.title = el("h2", { dir: "auto" });
    this.about = el("button", { type: "button", class: "about", title: t("thread.people"), onclick: withCurrent(actions.people) });
    this.join = el("button", { type: "button", class: "small", text: t("thread.join"), title: t("thread.joinHint"), onclick: withCurrent(actions.join) });
    this.leave = iconButton("out", t("thread.leave"), withCurrent(actions.leave), "leave");
    this.header = el("header", { class: "bar" },
      iconButton("back", t("thread.back"), actions.back, "back"), this.picture,
      el("div", { class: "heading" }, this.title, this.about), this.join,
      iconButton("link", t("thread.copyLink"), withCurrent(actions.copyLink)), this.leave);
    this.older = el("p", { class: "older" });
    this.entries = el("ol", { class: "entries" });
    this.scroller = el("div", { class: "scroller", tabindex: 0, role: "log", "aria-live": "off", "aria-label": t("thread.messages") },
      this.older, this.entries);
    this.toNew = el("button", { type: "button", class: "to-new", hidden: true, title: t("thread.toNew"), onclick: () => this.#toNew() });
    this.down = iconButton("down", t("thread.toEnd"), () => this.toEnd(), "filled down");
    this.downBadge = el("span", { class: "badge" });
    this.down.append(this.downBadge);
    this.typing = el("p", { class: "typists", dir: "auto", "aria-live": "polite" });
    this.composer = new Composer({
      send: (text) => this.#send(text),
      edit: (text) => this.#edit(text),
      typing: (active) => this.current && this.client?.typing(this.current, active),
      editLast: () => this.#editLast(),
    });
    this.pane = el("section", { class: "pane", hidden: true }, this.header,
      this.scroller, this.toNew, this.down, this.typing, this.composer.root);
    this.blank = el("section", { class: "blank" });
    root.append(this.pane, this.blank);

    const messages = {
      copy: (/** @type {Item} */ item) => actions.copy(item.text),
      quote: (/** @type {Item} */ item) => this.composer.quote(item.text),
      edit: (/** @type {Item} */ item) => this.#startEditing(item),
      remove: (/** @type {Item} */ { entry }) => entry && this.current && this.client?.remove(this.current, entry).catch(actions.failed),
      retry: (/** @type {Item} */ { pending }) => pending && this.current && this.client?.resend(this.current, pending),
      discard: (/** @type {Item} */ { pending }) => pending && this.current && this.client?.discard(this.current, pending),
    };
    this.#toolbar = new Toolbar(messages);
    this.#log = new VirtualLog(this.scroller, this.entries, {
      make: makeNode,
      update: (node, /** @type {Item} */ item) => updateNode(node, item, this.client?.now() ?? 0, messages),
      moved: () => this.#moved(),
      older: () => this.#load("older"),
      newer: () => this.#load("newer"),
      // Elsewhere in the same list, so that keys go on working.
      removing: () => this.scroller.focus({ preventScroll: true }),
    });
    // Not `pointerover`: while one scrolls, messages pass below a pointer that doesn't move.
    for (const type of ["pointermove", "focusin"]) this.entries.addEventListener(type, (/** @type {Event} */ event) => this.#pointed(event));
    this.entries.addEventListener("pointerleave", () => {
      if (!this.entries.contains(document.activeElement)) this.#toolbar.leave();
    });
    this.scroller.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#pressed(event));
  }

  /** @param {Client} client @param {Conversation} conversation */
  open(client, conversation) {
    this.client = client;
    if (this.current === conversation) return;
    this.current = conversation;
    this.pane.hidden = false;
    this.blank.hidden = true;
    this.#failed = false;
    this.#editing = null;
    this.#toolbar.leave();
    conversation.newFrom = conversation.unread > 0 ? conversation.read + 1 : 0;
    this.composer.max = client.limits.content_chars;
    this.composer.open(conversation.id);
    const title = conversation.title;
    this.picture.replaceChildren(avatar(title, conversation.kind !== "direct"));
    if (conversation.kind === "direct") {
      this.picture.append(el("span", { class: "dot" }));
      client.loadPeer(conversation).catch(() => {});
    } else {
      void client.refresh(conversation);
    }
    this.#log.open(this.#items());
    this.render();
  }

  /** Shows that nothing is open. @param {string} title @param {string} text @param {{label: string, run: () => void}} [action] */
  nothing(title, text, action) {
    this.current = null;
    this.pane.hidden = true;
    this.blank.hidden = false;
    this.blank.replaceChildren(iconButton("back", t("thread.back"), this.#actions.back, "back"),
      el("img", { src: "/web/icon.svg", alt: "", width: 72, height: 72 }), el("h2", { text: title, dir: "auto" }), el("p", { text }));
    if (action) this.blank.append(el("button", { type: "button", class: "primary", text: action.label, onclick: action.run }));
  }

  /** Shows what is new. */
  render() {
    const [client, conversation] = [this.client, this.current];
    if (!client || !conversation) return;
    this.#renderHeader(client, conversation);
    const { excerpt } = conversation;
    if (this.#log.inOlderHalf && !this.#log.atEnd) excerpt.dropNewest(EXCERPT_MAX);
    else excerpt.dropOldest(EXCERPT_MAX);
    this.seen();
    // While the user is away, what comes is new from here on.
    if (conversation.unread > 0 && conversation.newFrom <= conversation.read) conversation.newFrom = conversation.read + 1;
    this.#log.show(this.#items());
    const failed = this.#failed ? t("thread.loadFailed") : "";
    setText(this.older, excerpt.complete ? t(conversation.entries.length > 0 ? "thread.beginning" : "thread.nothingYet") : failed || t("thread.loading"));
    setText(this.typing, typing(conversation.typists));
    this.#moved();
  }

  /** Tells the server if the newest message is before the user's eyes. */
  seen() {
    const [client, conversation] = [this.client, this.current];
    if (!client || !conversation || !this.#log.atEnd || !document.hasFocus() || this.pane.offsetParent === null) return;
    const { excerpt, entries } = conversation;
    if (excerpt.attached && (entries.length > 0 || excerpt.complete)) client.seen(conversation);
  }

  /** Shows the newest message. */
  toEnd() {
    const [client, conversation] = [this.client, this.current];
    if (!client || !conversation) return;
    void this.#attempt(async () => {
      await client.loadNewest(conversation);
      if (this.current !== conversation) return;
      this.#log.open(this.#items());
      this.render();
    });
  }

  /** Puts the focus on the newest message on the screen. */
  focusMessages() {
    const nodes = this.#messages();
    const bottom = this.scroller.getBoundingClientRect().bottom;
    this.#focus(nodes.findLast((node) => node.getBoundingClientRect().top < bottom) ?? nodes.at(-1));
  }

  /** @returns {Item[]} */
  #items() {
    const conversation = this.current;
    const client = this.client;
    if (!client || !conversation) return [];
    return itemsOf(conversation, client.outbox?.of(conversation.id) ?? [], (who) => client.nameOf(who));
  }

  /** @param {Client} client @param {Conversation} conversation */
  #renderHeader(client, conversation) {
    setText(this.title, conversation.title);
    setText(this.about, about(conversation, client.now()));
    this.about.disabled = conversation.kind === "direct";
    this.picture.querySelector(".dot")?.classList.toggle("online", conversation.with?.online === true);
    this.join.hidden = conversation.kind !== "room" || conversation.member || client.guest;
    this.leave.hidden = conversation.kind === "direct";
  }

  /** What floats above the messages, when one has scrolled. */
  #moved() {
    const conversation = this.current;
    if (!conversation) return;
    const { atEnd } = this.#log;
    if (atEnd) this.seen();
    this.down.hidden = atEnd && conversation.excerpt.attached;
    const unread = conversation.unread;
    setText(this.downBadge, unread > 0 ? formatNumber(unread) : "");
    const { newFrom, excerpt } = conversation;
    this.toNew.hidden = newFrom === 0 || !((newFrom < excerpt.from && !excerpt.complete) || this.#log.isAbove(NEW_KEY));
    if (!this.toNew.hidden) setText(this.toNew, unread > 0 ? plural("thread.toNewCount", unread) : t("thread.new"));
  }

  #toNew() {
    const [client, conversation] = [this.client, this.current];
    if (!client || !conversation) return;
    void this.#attempt(async () => {
      if (!this.#items().some(({ key }) => key === NEW_KEY)) {
        await client.loadAround(conversation, conversation.newFrom);
        if (this.current !== conversation) return;
        this.#log.open(this.#items());
      }
      this.#log.toKey(NEW_KEY);
      this.render();
      this.scroller.focus({ preventScroll: true });
    });
  }

  /** @param {"older" | "newer"} which */
  #load(which) {
    const [client, conversation] = [this.client, this.current];
    if (!client || !conversation || this.#loading === conversation || client.state !== "online") return;
    const { excerpt } = conversation;
    if (which === "older" ? excerpt.complete : excerpt.attached) return;
    this.#loading = conversation;
    const ended = () => {
      if (this.#loading === conversation) this.#loading = null;
    };
    const load = which === "older" ? client.loadOlder(conversation) : client.loadNewer(conversation);
    load.then(() => {
      this.#failed = false;
      ended();
    }, (error) => {
      this.#failed = error.code !== "disconnected";
      this.render();
      setTimeout(() => {
        ended();
        this.render();
      }, error.retry_after_ms ?? RETRY_MS);
    });
  }

  /** @param {string} text */
  #send(text) {
    const [client, conversation] = [this.client, this.current];
    if (!client || !conversation) return;
    conversation.newFrom = 0;
    client.send(conversation, text);
    this.toEnd();
  }

  /** @param {string} text */
  #edit(text) {
    const entry = this.#editing?.entry;
    this.#editing = null;
    if (!entry || !this.client || !this.current || entry.content === text) return;
    this.client.edit(this.current, entry, text).catch(this.#actions.failed);
  }

  #editLast() {
    const item = this.#log.items.findLast(({ kind, own, deleted, entry }) => kind === "message" && own && !deleted && entry);
    if (item) this.#startEditing(item);
  }

  /** @param {Item} item */
  #startEditing(item) {
    this.composer.edit(item.entry?.content ?? "");
    this.#editing = item;
  }

  // --- the pointer and the keyboard among messages ------------------------------------------------------------------------------

  /** @param {Event} event */
  #pointed(event) {
    const target = /** @type {Element} */ (event.target);
    const node = /** @type {HTMLElement | null} */ (target.closest("li.message"));
    if (!node || (event.type === "pointermove" && (this.#toolbar.isAt(node) || this.entries.contains(document.activeElement)))) return;
    const item = this.#log.itemOf(node);
    if (!item) return;
    node.querySelector("time")?.setAttribute("title", formatFull(item.at_ms));
    if (event.type === "focusin") this.#rove(node);
    this.#toolbar.moveTo(node, item);
  }

  /** @returns {HTMLElement[]} */
  #messages() {
    return [...this.entries.querySelectorAll(".message")];
  }

  /** Makes a message the one that Tab comes to. @param {HTMLElement} node */
  #rove(node) {
    for (const other of this.entries.querySelectorAll('.message[tabindex="0"]')) if (other !== node) other.tabIndex = -1;
    node.tabIndex = 0;
  }

  /** @param {HTMLElement | undefined} node */
  #focus(node) {
    if (!node) return;
    node.focus({ preventScroll: true });
    node.scrollIntoView({ block: "nearest" });
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (target !== this.scroller && !target.classList.contains("message")) return;
    const nodes = this.#messages();
    const at = nodes.indexOf(target);
    if (event.key === "ArrowUp" && at < 0) this.focusMessages();
    else if (event.key === "ArrowUp") this.#focus(nodes[Math.max(0, at - 1)]);
    else if (event.key === "ArrowDown") this.#focus(nodes[at < 0 ? nodes.length - 1 : Math.min(nodes.length - 1, at + 1)]);
    else if (event.key === "End") this.toEnd();
    else if (event.key === "Enter" && at >= 0) this.#toolbar.focus(target);
    else if (event.key === "Delete" && at >= 0) this.#toolbar.focus(target, "delete");
    else if (event.key === "Escape") this.composer.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {() => Promise<void>} run */
  async #attempt(run) {
    try {
      await run();
    } catch (error) {
      this.#actions.failed(error);
    }
  }
}

/** @param {Conversation} conversation @param {number} now_ms */
function about(conversation, now_ms) {
  if (conversation.kind === "direct") {
    const other = conversation.with;
    if (other?.online) return t("presence.online");
    return other?.last_seen ? t("presence.seen", { ago: formatAgo(other.last_seen, now_ms) }) : t("presence.offline");
  }
  const members = conversation.members > 0 ? plural("thread.members", conversation.members) : "";
  const here = conversation.kind === "room" ? plural("thread.here", conversation.listeners) : "";
  return [here, members].filter(Boolean).join(" · ") || t("list.group");
}

/** @param {string[]} names */
function typing(names) {
  if (names.length === 0) return "";
  if (names.length > TYPISTS_MAX) return t("thread.typingMany");
  return plural("thread.typing", names.length, { names: names.join(", ") });
}

// @ts-check
// The main pane: one conversation's messages, scrolled without jumps, and the composer below.

import { avatar, el, icon, iconButton, setText, sync } from "./dom.js";
import * as format from "./format.js";
import { Composer } from "./view-composer.js";

/** So close to the end counts as the end, pixels. */
const END_PX = 48;
/** Older messages are loaded when so little is left above, pixels. */
const OLDER_PX = 600;
/** Messages of one sender within this time stand together. */
const RUN_MS = 5 * 60_000;
const CONFIRM_MS = 3000;

/**
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./protocol.js").Client} Client
 * @typedef {import("./log.js").Sequenced} Sequenced
 * @typedef {{back: () => void, copyLink: (conversation: Conversation) => void, leave: (conversation: Conversation) => void,
 *   join: (conversation: Conversation) => void, people: (conversation: Conversation) => void, failed: (error: unknown) => void}} Actions
 * @typedef {"sending" | "failed" | "stored" | "delivered" | "read" | ""} Stage
 * @typedef {{kind: "day" | "new" | "note" | "message", key: string, text: string, name: string, at_ms: number, own: boolean,
 *   first: boolean, last: boolean, stage: Stage, edited: boolean, deleted: boolean, error: string, entry?: Sequenced, pending?: string}} Item
 */

/** The pane. */
export class Thread {
  /** @type {Client | null} */
  client = null;
  /** @type {Conversation | null} */
  current = null;
  /** Whether the end is on the screen. */
  #atEnd = true;
  #loading = false;
  #failed = false;
  /** @type {Sequenced | null} */
  #editing = null;

  /** @param {HTMLElement} root @param {Actions} actions */
  constructor(root, actions) {
    this.actions = actions;
    const withCurrent = (/** @type {(conversation: Conversation) => void} */ then) => () => this.current && then(this.current);
    this.picture = el("span", { class: "picture" });
    this.title = el("h2", { dir: "auto" });
    this.about = el("button", { type: "button", class: "about", onclick: withCurrent(actions.people) });
    this.join = el("button", { type: "button", class: "small", text: "Join", title: "Become a member: keep it in your list",
      onclick: withCurrent(actions.join) });
    this.header = el("header", { class: "bar" },
      iconButton("back", "Back to the list", actions.back, "back"), this.picture,
      el("div", { class: "heading" }, this.title, this.about), this.join,
      iconButton("link", "Copy link", withCurrent(actions.copyLink)), iconButton("out", "Leave", withCurrent(actions.leave), "leave"));
    this.older = el("p", { class: "older" });
    this.entries = el("ol", { class: "entries", role: "log", "aria-live": "off", "aria-label": "Messages" });
    this.scroller = el("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Messages", onscroll: () => this.#scrolled() },
      this.older, this.entries);
    this.down = iconButton("down", "To the newest message", () => this.toEnd(), "filled down");
    this.typing = el("p", { class: "typists", dir: "auto", "aria-live": "polite" });
    this.composer = new Composer({
      send: (text) => {
        if (!this.client || !this.current) return;
        this.#atEnd = true;
        this.client.send(this.current, text);
      },
      edit: (text) => this.#edit(text),
      typing: (active) => this.current && this.client?.typing(this.current, active),
      editLast: () => this.#editLast(),
    });
    this.pane = el("section", { class: "pane", hidden: true }, this.header, this.scroller, this.down, this.typing, this.composer.root);
    this.blank = el("section", { class: "blank" });
    root.append(this.pane, this.blank);
    // A keyboard on the screen, a growing composer, another window size: the end stays the end.
    new ResizeObserver(() => {
      if (this.#atEnd) this.#scrollToEnd();
    }).observe(this.scroller);
  }

  /** @param {Client} client @param {Conversation} conversation */
  open(client, conversation) {
    this.client = client;
    this.blank.hidden = true;
    this.pane.hidden = false;
    if (this.current === conversation) return;
    this.current = conversation;
    this.#atEnd = true;
    this.#failed = false;
    this.#editing = null;
    conversation.newFrom = conversation.unread > 0 && conversation.member ? conversation.read + 1 : 0;
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
    this.render();
    this.#scrollToEnd();
  }

  /** Shows that nothing is open. @param {string} title @param {string} text @param {{label: string, run: () => void}} [action] */
  nothing(title, text, action) {
    this.current = null;
    this.pane.hidden = true;
    this.blank.hidden = false;
    this.blank.replaceChildren(iconButton("back", "Back to the list", this.actions.back, "back"),
      el("img", { src: "/web/icon.svg", alt: "", width: 72, height: 72 }), el("h2", { text: title, dir: "auto" }), el("p", { text }));
    if (action) this.blank.append(el("button", { type: "button", class: "primary", text: action.label, onclick: action.run }));
  }

  /** Shows what is new. */
  render() {
    const [client, conversation] = [this.client, this.current];
    if (!client || !conversation) return;
    this.#renderHeader(client, conversation);
    const anchor = this.#atEnd ? null : this.#anchor();
    sync(this.entries, items(client, conversation), ({ key }) => key, (item) => this.#make(item), (node, item) => this.#update(node, item));
    if (this.#atEnd) this.#scrollToEnd();
    else if (anchor) this.scroller.scrollTop += anchor.node.getBoundingClientRect().bottom - anchor.bottom;
    const failed = this.#failed ? "Older messages couldn't be loaded" : "";
    setText(this.older, conversation.complete ? beginning(conversation) : failed || "Loading…");
    setText(this.typing, typing(conversation.typists));
    this.down.hidden = this.#atEnd;
    this.#loadOlder();
    this.seen();
  }

  /** Tells the server if the newest message is before the user's eyes. */
  seen() {
    const [client, conversation] = [this.client, this.current];
    if (!client || !conversation || !this.#atEnd || !document.hasFocus() || this.pane.offsetParent === null) return;
    if (conversation.entries.length > 0 || conversation.complete) client.seen(conversation);
  }

  toEnd() {
    this.#atEnd = true;
    this.render();
  }

  /** @param {Client} client @param {Conversation} conversation */
  #renderHeader(client, conversation) {
    setText(this.title, conversation.title);
    setText(this.about, about(conversation, client.now()));
    this.picture.querySelector(".dot")?.classList.toggle("online", conversation.with?.online === true);
    this.join.hidden = conversation.kind !== "room" || conversation.member || client.guest;
    this.header.querySelector(".leave").hidden = conversation.kind === "direct";
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    const atEnd = scrollHeight - scrollTop - clientHeight < END_PX;
    if (atEnd !== this.#atEnd) {
      this.#atEnd = atEnd;
      this.down.hidden = atEnd;
      if (atEnd) this.seen();
    }
    this.#loadOlder();
  }

  #scrollToEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** Returns the first message on the screen and where it ends: that is to stay. */
  #anchor() {
    const top = this.scroller.getBoundingClientRect().top;
    for (const node of this.entries.children) {
      const { bottom } = node.getBoundingClientRect();
      if (bottom > top && node.classList.contains("message")) return { node, bottom };
    }
    return null;
  }

  #loadOlder() {
    const [client, conversation] = [this.client, this.current];
    if (!client || !conversation || this.#loading || conversation.complete || client.state !== "online") return;
    if (this.scroller.scrollTop > OLDER_PX) return;
    this.#loading = true;
    client.loadOlder(conversation).then(
      () => {
        this.#failed = false;
      },
      (error) => {
        this.#failed = error.code !== "disconnected";
        return new Promise((resolve) => setTimeout(resolve, error.retry_after_ms ?? 2000));
      },
    ).finally(() => {
      this.#loading = false;
      this.render();
    });
  }

  /** @param {string} text */
  #edit(text) {
    const entry = this.#editing;
    this.#editing = null;
    if (!entry || !this.client || !this.current || entry.content === text) return;
    this.client.edit(this.current, entry, text).catch(this.actions.failed);
  }

  #editLast() {
    const [client, conversation] = [this.client, this.current];
    const entry = conversation?.entries.findLast((entry) => entry.event === "message" && !entry.deleted && client?.isOwn(entry));
    if (entry) this.#startEditing(entry);
  }

  /** @param {Sequenced} entry */
  #startEditing(entry) {
    this.composer.edit(entry.content ?? "");
    this.#editing = entry;
  }

  /** @param {Item} item */
  #make(item) {
    return el("li", { class: item.kind });
  }

  /** @param {HTMLElement} node @param {Item} item */
  #update(node, item) {
    const { entry: _, key: __, ...shown } = item;
    const signature = JSON.stringify(shown);
    if (node.dataset.shown === signature) return;
    node.dataset.shown = signature;
    if (item.kind !== "message") {
      node.replaceChildren(el("span", { text: item.text, dir: "auto" }));
      return;
    }
    node.className = ["message", item.own && "own", item.first && "first", item.last && "last", item.deleted && "deleted",
      item.stage === "failed" && "failed"].filter(Boolean).join(" ");
    const meta = el("span", { class: "meta" }, item.edited && !item.deleted ? el("span", { text: "edited " }) : null,
      el("time", { datetime: new Date(item.at_ms).toISOString(), title: format.full(item.at_ms), text: format.time(item.at_ms) }), stage(item.stage));
    const text = item.deleted ? el("em", { class: "text", text: "Message deleted" }) : el("span", { class: "text", dir: "auto", text: item.text });
    const bubble = el("div", { class: "bubble" }, item.first && item.name ? el("bdi", { class: "name", text: item.name }) : null, text, meta);
    node.replaceChildren();
    if (!item.own && item.name) node.append(item.first ? avatar(item.name) : el("span", { class: "avatar empty" }));
    if (item.own && !item.deleted) node.append(this.#tools(item));
    node.append(bubble);
    if (item.error) node.append(el("p", { class: "error", text: item.error }));
  }

  /** @param {Item} item */
  #tools(item) {
    const tools = el("span", { class: "tools" });
    const [client, conversation, { entry, pending }] = [this.client, this.current, item];
    if (!client || !conversation) return tools;
    if (item.stage === "failed" && pending) {
      tools.append(el("button", { type: "button", class: "small", text: "Try again", onclick: () => client.resend(conversation, pending) }),
        iconButton("trash", "Discard", () => client.discard(conversation, pending)));
    } else if (entry) {
      tools.append(iconButton("edit", "Edit", () => this.#startEditing(entry)), this.#deleteButton(client, conversation, entry));
    }
    return tools;
  }

  /** A button that asks once more. @param {Client} client @param {Conversation} conversation @param {Sequenced} entry */
  #deleteButton(client, conversation, entry) {
    let sure = false;
    const button = iconButton("trash", "Delete", () => {
      if (sure) {
        client.remove(conversation, entry).catch(this.actions.failed);
        return;
      }
      sure = true;
      button.replaceChildren(el("span", { text: "Delete?" }));
      button.classList.add("sure");
      setTimeout(() => {
        sure = false;
        button.replaceChildren(icon("trash"));
        button.classList.remove("sure");
      }, CONFIRM_MS);
    });
    return button;
  }
}

/** Returns what is shown, from top to bottom. @param {Client} client @param {Conversation} conversation @returns {Item[]} */
function items(client, conversation) {
  /** @type {Item[]} */
  const list = [];
  const now_ms = client.now();
  let lastDay = "";
  /** @type {Item | null} */
  let before = null;
  let marked = conversation.newFrom === 0;
  const add = (/** @type {Item} */ item) => {
    const day = format.dayKey(item.at_ms);
    if (day !== lastDay) {
      lastDay = day;
      list.push({ ...item, kind: "day", key: `day ${day}`, text: format.day(item.at_ms, now_ms), entry: undefined });
      before = null;
    }
    if (item.kind === "message") {
      const run = before?.kind === "message" && before.own === item.own && before.name === item.name && item.at_ms - before.at_ms < RUN_MS;
      item.first = !run;
      if (run && before) before.last = false;
    }
    list.push(item);
    before = item;
  };
  for (const entry of conversation.entries) {
    const own = client.isOwn(entry);
    if (!marked && entry.event === "message" && !own && entry.seq >= conversation.newFrom) {
      marked = true;
      list.push({ ...blank(entry), kind: "new", key: "new", text: "New messages" });
      before = null;
    }
    if (entry.event !== "message") {
      const what = entry.event === "member_joined" ? "joined" : "left";
      add({ ...blank(entry), kind: "note", key: `n ${entry.epoch} ${entry.seq}`, text: `⁨${entry.sender.name}⁩ ${what}` });
      continue;
    }
    const key = entry.message_id === undefined ? `s ${entry.epoch} ${entry.seq}` : `m ${own ? "" : entry.sender.id} ${entry.message_id}`;
    add({ ...blank(entry), key, text: entry.content ?? "", name: own || conversation.kind === "direct" ? "" : entry.sender.name, own,
      stage: own ? reached(conversation, entry.seq) : "", edited: entry.edited_at !== undefined, deleted: entry.deleted === true, entry });
  }
  for (const item of client.outbox?.of(conversation.id) ?? []) {
    const stage = item.error ? "failed" : item.stored ? "stored" : "sending";
    add({ ...blank({ timestamp: item.at_ms }), key: `m  ${item.message_id}`, text: item.content, own: true, stage, error: item.error ?? "",
      pending: item.message_id });
  }
  return list;
}

/** @param {{timestamp: number}} entry @returns {Item} */
function blank(entry) {
  return { kind: "message", key: "", text: "", name: "", at_ms: entry.timestamp, own: false, first: true, last: true, stage: "",
    edited: false, deleted: false, error: "" };
}

/** @param {Conversation} conversation @param {number} seq @returns {Stage} */
function reached(conversation, seq) {
  if (conversation.kind !== "direct") return "stored";
  return seq <= conversation.peer.read ? "read" : seq <= conversation.peer.delivered ? "delivered" : "stored";
}

/** @param {Stage} stage */
function stage(stage) {
  if (stage === "" || stage === "failed") return null;
  const [name, label] = { sending: ["clock", "sending"], stored: ["check", "stored"], delivered: ["checks", "delivered"], read: ["checks", "read"] }[stage];
  return el("span", { class: `stage ${stage}`, title: label }, icon(name, label));
}

/** @param {Conversation} conversation @param {number} now_ms */
function about(conversation, now_ms) {
  if (conversation.kind === "direct") {
    const other = conversation.with;
    if (other?.online) return "online";
    return other?.last_seen ? `last seen ${format.ago(other.last_seen, now_ms)}` : "offline";
  }
  const members = conversation.members > 0 ? format.counted(conversation.members, "member") : "";
  const here = conversation.kind === "room" ? `${conversation.listeners} here now` : "";
  return [here, members].filter(Boolean).join(" · ") || "Group";
}

/** @param {Conversation} conversation */
function beginning(conversation) {
  return conversation.entries.length > 0 ? "This is the beginning." : "Nothing was said here yet.";
}

/** @param {string[]} names */
function typing(names) {
  if (names.length === 0) return "";
  if (names.length > 3) return "Several people are typing…";
  return `${names.map((name) => `⁨${name}⁩`).join(", ")} ${names.length === 1 ? "is" : "are"} typing…`;
}

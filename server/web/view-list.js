// @ts-check
// The left column: the user's conversations, public rooms, and who one is.

import { avatar, el, iconButton, setText, sync } from "./dom.js";
import * as format from "./format.js";

/**
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./protocol.js").Client} Client
 * @typedef {import("./protocol.js").RoomRow} RoomRow
 * @typedef {{open: (conversation: Conversation) => void, openRoom: (name: string) => void, create: () => void, leave: () => void}} Actions
 */

/** The column. */
export class List {
  /** @type {RoomRow[]} */
  rooms = [];

  /** @param {HTMLElement} root @param {Actions} actions */
  constructor(root, actions) {
    this.actions = actions;
    this.list = el("ul", { class: "conversations", "aria-label": "Your conversations" });
    this.publicList = el("ul", { class: "conversations public", "aria-label": "Public rooms" });
    this.publicTitle = el("h2", { text: "Public rooms" });
    this.empty = el("p", { class: "hint", text: "No conversations yet. Open a room below, or start one with +." });
    this.me = el("span", { class: "me", dir: "auto" });
    this.mine = el("span", { class: "mine" });
    root.append(
      el("header", { class: "bar" }, el("img", { src: "/web/icon.svg", alt: "", width: 28, height: 28 }),
        el("h1", { text: "Chinwag" }), iconButton("plus", "New conversation", actions.create, "filled")),
      el("div", { class: "lists" }, this.list, this.empty, this.publicTitle, this.publicList),
      el("footer", { class: "bar" }, this.mine, this.me, iconButton("out", "Log out", actions.leave)));
  }

  /** @param {Client} client @param {Conversation | null} current */
  render(client, current) {
    const sorted = [...client.conversations.values()].sort((a, b) => b.activity_ms - a.activity_ms || (a.id < b.id ? 1 : -1));
    sync(this.list, sorted, ({ id }) => id, (conversation) => this.#row(conversation),
      (node, conversation) => this.#update(node, conversation, client, current));
    const rooms = this.rooms.filter((room) => !client.conversations.has(room.id));
    sync(this.publicList, rooms, ({ id }) => id, (room) => this.#publicRow(room), (node, room) => {
      setText(node.querySelector(".preview"), room.listeners > 0 ? `${room.listeners} here now` : format.counted(room.messages, "message"));
    });
    this.publicTitle.hidden = rooms.length === 0;
    this.empty.hidden = sorted.length > 0;
    const name = client.me?.name ?? "";
    if (this.me.dataset.name !== name) {
      this.me.dataset.name = name;
      setText(this.me, name);
      this.mine.replaceChildren(avatar(name));
      if (client.guest) this.me.append(" ", el("span", { class: "tag", text: "guest" }));
    }
  }

  /** @param {Conversation} conversation */
  #row(conversation) {
    const picture = el("span", { class: "picture" }, avatar(conversation.title, conversation.kind !== "direct"));
    if (conversation.kind === "direct") picture.append(el("span", { class: "dot" }));
    return el("li", {}, el("button", { type: "button", class: "row", onclick: () => this.actions.open(conversation),
      data: { id: conversation.id } }, picture,
      el("span", { class: "title", dir: "auto" }), el("time", {}), el("span", { class: "preview", dir: "auto" }),
      el("span", { class: "badge" })));
  }

  /** @param {HTMLElement} node @param {Conversation} conversation @param {Client} client @param {Conversation | null} current */
  #update(node, conversation, client, current) {
    const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (node.querySelector(name));
    const row = part(".row");
    if (conversation === current) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
    row.classList.toggle("unread", conversation.unread > 0);
    setText(part(".title"), conversation.title);
    setText(part("time"), conversation.last ? format.brief(conversation.last.timestamp, client.now()) : "");
    setText(part(".preview"), preview(conversation, client));
    part(".preview").classList.toggle("typing", conversation.typists.length > 0);
    setText(part(".badge"), conversation.unread === 0 ? "" : conversation.unread > 999 ? "999+" : String(conversation.unread));
    part(".badge").setAttribute("aria-label", conversation.unread === 0 ? "" : `${conversation.unread} unread`);
    const dot = node.querySelector(".dot");
    if (!dot) return;
    const online = conversation.with?.online === true;
    dot.classList.toggle("online", online);
    dot.setAttribute("title", online ? "online" : "offline");
  }

  /** @param {RoomRow} room */
  #publicRow(room) {
    return el("li", {}, el("button", { type: "button", class: "row", onclick: () => this.actions.openRoom(room.name) },
      el("span", { class: "picture" }, avatar(room.name, true)),
      el("span", { class: "title", dir: "auto", text: room.name }), el("span", { class: "preview" })));
  }
}

/** @param {Conversation} conversation @param {Client} client */
function preview(conversation, client) {
  if (conversation.typists.length > 0) return `${conversation.typists.join(", ")} …`;
  const waiting = client.outbox?.of(conversation.id).at(-1);
  if (waiting && !waiting.stored) return `${waiting.error ? "Not sent" : "Sending"}: ${waiting.content}`;
  const last = conversation.last;
  if (!last) return conversation.kind === "room" ? "Public room" : conversation.kind === "group" ? "Group" : "";
  if (last.deleted) return "Message deleted";
  const who = client.isOwn(last) ? "You: " : conversation.kind === "direct" ? "" : `${last.sender.name}: `;
  return who + last.content?.slice(0, 200);
}


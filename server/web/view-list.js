// @ts-check
// The left column: the user's conversations, public rooms, a box to find one of them, and who one is.

import { avatar, el, icon, iconButton, setText, sync } from "./dom.js";
import { formatBrief, formatFull, formatNumber, plural, t } from "./i18n.js";
import { plain } from "./markup.js";

const PREVIEW_MAX = 160;
const SKELETONS = 5;

/**
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./protocol.js").Client} Client
 * @typedef {import("./protocol.js").RoomRow} RoomRow
 * @typedef {{open: (conversation: Conversation) => void, openRoom: (name: string) => void, create: () => void, settings: () => void,
 *   leave: () => void, escape: () => void}} Actions
 */

/** The column. */
export class List {
  /** Public rooms; null: not asked yet. @type {RoomRow[] | null} */
  rooms = null;
  #actions;

  /** @param {HTMLElement} root @param {Actions} actions */
  constructor(root, actions) {
    this.#actions = actions;
    this.list = el("ul", { class: "conversations", "aria-label": t("list.yours") });
    this.publicList = el("ul", { class: "conversations public", "aria-label": t("list.public") });
    this.publicTitle = el("h2", { text: t("list.public") });
    this.empty = el("p", { class: "hint", role: "status" });
    this.filter = el("input", { type: "search", class: "filter", placeholder: t("list.filter"), "aria-label": t("list.filter"), dir: "auto",
      autocomplete: "off", spellcheck: "false", enterkeyhint: "go", oninput: () => this.#filtered(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#filterPressed(event) });
    this.me = el("span", { class: "me", dir: "auto" });
    this.picture = el("span", { class: "picture" });
    this.profile = el("button", { type: "button", class: "mine", title: t("list.settings"), onclick: actions.settings }, this.picture, this.me);
    this.clear = iconButton("close", t("list.clear"), () => {
      this.filter.value = "";
      this.#filtered();
      this.filter.focus();
    });
    this.lists = el("div", { class: "lists", onkeydown: (/** @type {KeyboardEvent} */ event) => this.#pressed(event) },
      this.list, this.empty, this.publicTitle, this.publicList);
    this.clear.hidden = true;
    root.append(
      el("header", { class: "bar" }, el("img", { src: "/web/icon.svg", alt: "", width: 28, height: 28 }),
        el("h1", { text: t("app.title") }), iconButton("plus", t("list.new"), actions.create, "filled")),
      el("div", { class: "search", role: "search" }, icon("search"), this.filter, this.clear),
      this.lists,
      el("footer", { class: "bar" }, this.profile, iconButton("settings", t("list.settings"), actions.settings),
        iconButton("out", t("list.logout"), actions.leave)));
  }

  /** Shows that the conversations are on their way, and nothing of who was here before. */
  loading() {
    this.rooms = null;
    sync(this.list, Array.from({ length: SKELETONS }, (_, at) => String(at)), (key) => `skeleton ${key}`,
      () => el("li", { class: "skeleton", "aria-hidden": "true" }, el("span", { class: "avatar" }), el("span", { class: "line" }), el("span", { class: "line" })));
    sync(this.publicList, [], String, () => el("li"));
    this.publicTitle.hidden = true;
    this.empty.hidden = false;
    setText(this.empty, t("list.loading"));
    this.filter.value = "";
    this.clear.hidden = true;
    delete this.profile.dataset.who;
    this.profile.querySelector(".tag")?.remove();
    setText(this.me, "");
    this.picture.replaceChildren();
  }

  /** What the search lets through, newest first: as of now, not as drawn last. @param {Client} client @returns {Conversation[]} */
  listed(client) {
    const wanted = fold(this.filter.value.trim());
    const sorted = [...client.conversations.values()].sort((a, b) => b.activity_ms - a.activity_ms || (a.id < b.id ? 1 : -1));
    return sorted.filter((one) => matches(wanted, one.title, one.name));
  }

  /** @param {Client} client @param {Conversation | null} current */
  render(client, current) {
    const wanted = fold(this.filter.value.trim());
    const listed = this.listed(client);
    sync(this.list, listed, ({ id }) => id, (conversation) => this.#row(conversation),
      (node, conversation) => this.#update(node, conversation, client, current));
    const rooms = (this.rooms ?? []).filter(({ id, name }) => !client.conversations.has(id) && matches(wanted, name));
    sync(this.publicList, rooms, ({ id }) => id, (room) => this.#publicRow(room), (node, room) => {
      setText(node.querySelector(".preview"), room.listeners > 0 ? plural("list.here", room.listeners) : plural("list.messages", room.messages));
    });
    this.publicTitle.hidden = rooms.length === 0;
    const nothing = listed.length === 0;
    this.empty.hidden = !nothing || (wanted !== "" && rooms.length > 0);
    if (nothing) setText(this.empty, wanted ? t("list.noMatch", { text: this.filter.value.trim() }) : t("list.empty"));
    this.#rove();
    const [name, shown] = [client.me?.name ?? "", client.me?.display_name || client.me?.name || ""];
    const who = `${name} ${shown} ${client.guest}`;
    if (this.profile.dataset.who === who) return;
    this.profile.dataset.who = who;
    setText(this.me, shown);
    this.profile.querySelector(".tag")?.remove();
    this.picture.replaceChildren(avatar(name));
    if (client.guest) this.me.after(el("span", { class: "tag", text: t("list.guest") }));
  }

  focusFilter() {
    this.filter.focus();
    this.filter.select();
  }

  /** Puts the focus on the row of what is open, or the first. */
  focusRow() {
    this.#rows().find(({ tabIndex }) => tabIndex === 0)?.focus();
  }

  /** @param {Conversation} conversation */
  #row(conversation) {
    const { kind, id } = conversation;
    const picture = el("span", { class: "picture" }, avatar(conversation.title, kind !== "direct"));
    if (kind === "direct") picture.append(el("span", { class: "dot" }));
    return el("li", {}, el("button", { type: "button", class: `row ${kind}`, onclick: () => this.#actions.open(conversation), data: { id } }, picture,
      el("bdi", { class: "title" }), el("time", {}), el("span", { class: "preview", dir: "auto" }), el("span", { class: "badge" }),
      el("span", { class: "hidden state" })));
  }

  /** @param {HTMLElement} node @param {Conversation} conversation @param {Client} client @param {Conversation | null} current */
  #update(node, conversation, client, current) {
    const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (node.querySelector(name));
    const { unread, last, kind } = conversation;
    const row = part(".row");
    if (conversation === current) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
    row.classList.toggle("unread", unread > 0);
    setText(part(".title"), conversation.title);
    setText(part("time"), last ? formatBrief(last.timestamp, client.now()) : "");
    if (last) part("time").title = formatFull(last.timestamp);
    setText(part(".preview"), preview(conversation, client));
    part(".preview").classList.toggle("typing", conversation.typists.length > 0);
    setText(part(".badge"), unread === 0 ? "" : unread > 999 ? `${formatNumber(999)}+` : formatNumber(unread));
    part(".badge").setAttribute("aria-hidden", "true");
    const online = conversation.with?.online === true;
    const what = kind === "direct" ? t(online ? "presence.online" : "presence.offline") : t(`list.${kind}`);
    setText(part(".state"), unread > 0 ? `${what}, ${plural("list.unread", unread)}` : what);
    const dot = node.querySelector(".dot");
    dot?.classList.toggle("online", online);
    dot?.setAttribute("title", what);
  }

  /** @param {RoomRow} room */
  #publicRow(room) {
    return el("li", {}, el("button", { type: "button", class: "row room", onclick: () => this.#actions.openRoom(room.name) },
      el("span", { class: "picture" }, avatar(room.name, true)), el("bdi", { class: "title", text: room.name }), el("span", { class: "preview" })));
  }

  // --- keyboard -----------------------------------------------------------------------------------------------------------------

  /** @returns {HTMLButtonElement[]} */
  #rows() {
    return [...this.lists.querySelectorAll(".row")];
  }

  /** One row is what Tab comes to: the one with the focus, else what is open, else the first. @param {Element} [focused] */
  #rove(focused) {
    const rows = this.#rows();
    const stop = focused ?? rows.find((row) => row === document.activeElement) ?? rows.find((row) => row.hasAttribute("aria-current")) ?? rows[0];
    for (const row of rows) {
      const index = row === stop ? 0 : -1;
      if (row.tabIndex !== index) row.tabIndex = index;
    }
  }

  #filtered() {
    this.clear.hidden = this.filter.value === "";
    this.lists.scrollTop = 0;
    this.lists.dispatchEvent(new Event("filtered", { bubbles: true }));
  }

  /** @param {KeyboardEvent} event */
  #filterPressed(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowDown") this.#rows()[0]?.focus();
    else if (event.key === "Enter") this.#rows()[0]?.click();
    else if (event.key === "Escape" && this.filter.value === "") this.#actions.escape();
    else if (event.key === "Escape") this.filter.value = "";
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Enter") this.filter.value = "";
    this.#filtered();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = this.#rows();
    const at = rows.indexOf(/** @type {any} */ (event.target));
    if (at < 0) return;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0) {
      this.filter.focus();
      return;
    }
    const row = rows[Math.min(to, rows.length - 1)];
    this.#rove(row);
    row.focus();
  }
}

/** Letters as they are compared: case and accents don't count. @param {string} text */
const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

/** @param {string} wanted folded @param {...string} names */
const matches = (wanted, ...names) => wanted === "" || names.some((name) => fold(name).includes(wanted));

/** @type {WeakMap<object, {content: string, text: string}>} */
const previews = new WeakMap();

/** Returns a message on one line, without its marks. @param {{content?: string}} message */
function oneLine(message) {
  const content = (message.content ?? "").slice(0, PREVIEW_MAX);
  const known = previews.get(message);
  if (known?.content === content) return known.text;
  const text = plain(content);
  previews.set(message, { content, text });
  return text;
}

/** @param {Conversation} conversation @param {Client} client */
function preview(conversation, client) {
  if (conversation.typists.length > 0) return t("list.typing", { names: conversation.typists.join(", ") });
  const waiting = client.outbox?.of(conversation.id).at(-1);
  if (waiting && !waiting.stored) return t(waiting.error ? "list.notSent" : "list.sending", { text: oneLine(waiting) });
  const last = conversation.last;
  if (!last) return conversation.kind === "direct" ? "" : t(`list.${conversation.kind}`);
  if (last.deleted) return t("message.deleted");
  if (client.isOwn(last)) return t("list.you", { text: oneLine(last) });
  return conversation.kind === "direct" ? oneLine(last) : t("list.someone", { name: client.nameOf(last.sender), text: oneLine(last) });
}

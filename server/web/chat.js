// @ts-check
// The chat, for who has come in: puts client and views together. What is open is in the address (`route.js`). Loaded after the first
// screen (`app.js`).

import { el, setText, sync } from "./dom.js";
import { explain } from "./errors.js";
import { formatNumber, plural, t } from "./i18n.js";
import { listen } from "./keys.js";
import * as listening from "./listening.js";
import { plain } from "./markup.js";
import { notify } from "./notify.js";
import { Client } from "./protocol.js";
import { Account, Guest, KEY as SESSION_KEY } from "./rest.js";
import { addressOf, chatAddress, leadsTo, parse, roomAddress } from "./route.js";
import { announce, showStatus, toast } from "./status.js";
import { List } from "./view-list.js";
import { Thread } from "./view-thread.js";

const ROOMS_EVERY_MS = 30_000;
const ANNOUNCED_MAX = 300;

/** @typedef {import("./conversation.js").Conversation} Conversation */

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const app = byId("app");

/** @type {Client | null} */
let client = null;
/** @type {Account | Guest | null} */
let login = null;
/** The address has been followed. */
let arrived = false;
let drawing = false;
let roomsTimer = 0;

/** Who shows the first screen. @type {{entered: () => void, left: (error?: string) => void}} */
let outside = { entered: () => {}, left: () => {} };

byId("side").replaceChildren();
const list = new List(byId("side"), {
  open: (conversation) => go(addressOf(conversation)),
  openRoom: (name) => go(roomAddress(name)),
  create: () => void attempt(async () => {
    const { askNew } = await part(() => import("./view-dialogs.js"));
    if (client) askNew(client.guest, { openChat, openRoom, createGroup, joinGroup });
  }),
  settings: () => void attempt(openSettings),
  leave: () => void attempt(logOut),
  escape: () => (thread.current ? thread.composer.focus() : list.focusRow()),
});
byId("side").addEventListener("filtered", draw);
const thread = new Thread(byId("thread"), {
  back: () => go(""),
  copyLink: (conversation) => void attempt(() => copy(linkOf(conversation), t("thread.linkCopied"))),
  copy: (text) => void attempt(() => copy(text, t("message.copied"))),
  leave: (conversation) => void attempt(() => leaveConversation(conversation)),
  join: (conversation) => void attempt(() => client?.joinRoom(conversation)),
  people: (conversation) => void attempt(() => people(conversation)),
  failed,
});
byId("skip").addEventListener("click", () => (thread.current ? thread.composer.focus() : list.focusRow()));

// --- coming and going -------------------------------------------------------------------------------------------------------

/** Says whom to tell of coming and going. @param {typeof outside} whom */
export function begin(whom) {
  outside = whom;
}

/** Connects someone, who is in when the server has welcomed them. @param {Account | Guest} who */
export function enter(who) {
  login = who;
  arrived = false;
  list.loading();
  thread.composer.begin(who instanceof Guest ? `guest:${who.name}` : who.name);
  const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
  client = new Client(url, who, changed);
  client.start();
}

async function logOut() {
  const waiting = client?.outbox?.waiting ?? 0;
  if (waiting > 0) {
    const { confirm } = await part(() => import("./view-dialogs.js"));
    if (!(await confirm(t("logout.title"), plural(client?.guest ? "logout.textGuest" : "logout.text", waiting), t("list.logout")))) return;
  }
  const who = login;
  leave();
  await who?.logout();
}

/** @param {string} [error] */
function leave(error) {
  client?.stop();
  login?.forget();
  client = login = null;
  clearTimeout(roomsTimer);
  listening.forget();
  for (const node of document.querySelectorAll("dialog")) node.close();
  clear();
  app.hidden = true;
  document.title = t("app.title");
  showStatus(null, false);
  outside.left(error);
}

/** Leaves nothing of a user to the next one, not even where it isn't seen. */
function clear() {
  thread.composer.forget();
  thread.nothing("", "");
  thread.client = null;
  sync(thread.entries, [], String, () => el("li"));
  thread.picture.replaceChildren();
  for (const node of [thread.title, thread.about, thread.typing, byId("announce")]) setText(node, "");
  list.loading();
}

/** @param {import("./protocol.js").Change} change */
function changed(change) {
  switch (change.type) {
    case "ended":
      leave(change.text);
      return;
    case "notice":
      toast(change.text ?? "");
      break;
    case "message":
      if (change.conversation && change.event) heard(change.conversation, change.event);
      break;
    case "state":
      if (client?.state === "online") welcomed();
      break;
    default:
  }
  draw();
}

function welcomed() {
  if (arrived || !client) return;
  arrived = true;
  if (login instanceof Guest) login.remember();
  outside.entered();
  app.hidden = false;
  void refreshRooms();
  void attempt(async () => {
    for (const id of listening.remembered()) {
      if (!client?.conversations.get(id)?.listening) await client?.listen({ conversation: id }).catch(() => {});
    }
  });
  void follow();
  // While nothing else is to be done: what would otherwise be fetched when it is wanted, perhaps without a network.
  const idle = globalThis.requestIdleCallback ?? ((/** @type {() => void} */ run) => setTimeout(run, 2000));
  idle(() => void Promise.all([import("./view-settings.js"), thread.composer.loadEmoji()]).catch(() => {}));
}

async function refreshRooms() {
  clearTimeout(roomsTimer);
  if (!client) return;
  if (client.state === "online" && !document.hidden) list.rooms = await client.rooms().catch(() => list.rooms);
  draw();
  roomsTimer = setTimeout(() => void refreshRooms(), ROOMS_EVERY_MS);
}

// --- what is open -----------------------------------------------------------------------------------------------------------

/** @param {string} address */
function go(address) {
  if (location.hash.slice(1) === address) void follow();
  else location.hash = address;
}

/** Opens what the address says. */
async function follow() {
  if (!client || !arrived) return;
  const route = parse(location.hash);
  const { kind, what } = route;
  const found = [...client.conversations.values()].find((conversation) => leadsTo(route, conversation));
  if (found) {
    show(found);
    // A member of a room hears it all the same; listening is to be seen in it.
    if (found.kind === "room" && !found.listening) client.listen({ conversation: found.id }).catch(() => {});
  } else if (kind === "room") {
    await client.listen({ name: what }).then(show, (error) => {
      if (error.code === "not_found" && client && !client.guest) {
        offer(t("thread.noRoom", { name: what }), t("thread.noRoomText"), t("thread.createIt"), () => client?.createRoom(what));
      } else {
        nothing(t("thread.roomFailed", { name: what }), explain(error));
      }
    });
  } else if (kind === "group" && !client.guest) {
    offer(t("thread.invited"), t("thread.invitedText"), t("thread.joinGroup"), () => client?.joinGroup(what));
  } else if (kind === "group") {
    nothing(t("thread.invited"), t("thread.accountNeeded"));
  } else if (kind === "chat" && !client.guest && what !== client.me?.name) {
    offer(what, t("thread.noTalk"), t("thread.startChat"), () => client?.openChat(what));
  } else {
    nothing(t("app.title"), t("thread.choose"), "list");
  }
}

/** @param {Conversation} conversation */
function show(conversation) {
  if (!client) return;
  const other = thread.current !== conversation;
  app.dataset.pane = "thread";
  thread.open(client, conversation);
  if (other && matchMedia("(hover: hover)").matches) thread.composer.focus();
  draw();
}

/** @param {string} title @param {string} text @param {"thread" | "list"} pane what a narrow window shows */
function nothing(title, text, pane = "thread") {
  app.dataset.pane = pane;
  thread.nothing(title, text);
  draw();
}

/** @param {string} title @param {string} text @param {string} label @param {() => Promise<Conversation> | undefined} run */
function offer(title, text, label, run) {
  app.dataset.pane = "thread";
  thread.nothing(title, text, { label, run: () => void attempt(async () => {
    const conversation = await run();
    if (conversation) opened(conversation);
  }) });
  draw();
}

/** @param {Conversation} conversation */
function opened(conversation) {
  go(addressOf(conversation));
  // The address may have said so before.
  show(conversation);
}

/** Goes to another conversation of the list. @param {1 | -1} by @param {"unread" | "any"} which */
function step(by, which) {
  if (!client) return;
  const rows = list.listed(client).filter((one) => which === "any" || one.unread > 0 || one === thread.current);
  if (rows.length === 0) return;
  const at = thread.current ? rows.indexOf(thread.current) : -1;
  go(addressOf(rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : (at + by + rows.length) % rows.length]));
}

const openChat = async (/** @type {string} */ name) => client && opened(await client.openChat(name));
const createGroup = async (/** @type {string} */ name) => client && opened(await client.createGroup(name));
const joinGroup = async (/** @type {string} */ id) => client && opened(await client.joinGroup(id));

/** @param {string} name */
async function openRoom(name) {
  if (!client) return;
  const made = client.listen({ name }).catch((error) => {
    if (error.code !== "not_found" || !client || client.guest) throw error;
    return client.createRoom(name);
  });
  opened(await made);
}

// --- dialogs ----------------------------------------------------------------------------------------------------------------

/** Loads a part of the page that isn't needed at first. @template T @param {() => Promise<T>} load @returns {Promise<T>} */
async function part(load) {
  return load().catch(() => Promise.reject(new Error(t("error.part"))));
}

async function openSettings() {
  const { showSettings } = await part(() => import("./view-settings.js"));
  if (!client?.me) return;
  showSettings(client.me, {
    rename: (name) => client?.setDisplayName(name) ?? Promise.resolve(),
    languageChanged: () => location.reload(),
    saved: () => toast(t("settings.saved")),
  });
}

/** @param {Conversation} conversation */
async function leaveConversation(conversation) {
  if (conversation.member) {
    const { confirm } = await part(() => import("./view-dialogs.js"));
    if (!(await confirm(t("leave.title", { name: conversation.title }), t("leave.text"), t("thread.leave")))) return;
  }
  await client?.leave(conversation);
  go("");
}

/** @param {Conversation} conversation */
async function people(conversation) {
  if (conversation.kind === "direct") return;
  const { showPeople } = await part(() => import("./view-dialogs.js"));
  if (!client) return;
  const listeners = conversation.kind === "room" ? conversation.listenerNames : [];
  const members = async (/** @type {string | undefined} */ after) => (await client?.members(conversation, after).catch((error) => {
    // Whoever only listens to a room doesn't see its members.
    if (conversation.listening) return { members: [] };
    throw error;
  })) ?? { members: [] };
  await showPeople(conversation.title, listeners, members, { me: client.me?.name ?? "", chat: client.guest ? null : (name) => void attempt(() => openChat(name)) });
}

/** @param {Conversation} conversation */
function linkOf(conversation) {
  const address = conversation.kind === "direct" ? chatAddress(client?.me?.name ?? "") : addressOf(conversation);
  return `${location.origin}/#${address}`;
}

/** @param {string} text @param {string} done */
async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    toast(done);
  } catch {
    // Only pages of secure origins may write there.
    toast(text.includes("#") && !/\s/.test(text) ? text : t("error.notCopied"));
  }
}

// --- drawing ----------------------------------------------------------------------------------------------------------------

/** Draws soon, once for all that changed. */
function draw() {
  if (drawing) return;
  drawing = true;
  // Hidden pages get no frames, but their title is seen.
  if (document.hidden) setTimeout(drawNow, 100);
  else requestAnimationFrame(drawNow);
}

function drawNow() {
  drawing = false;
  showStatus(client, arrived);
  if (!client || !arrived) return;
  const current = thread.current;
  if (current && client.conversations.get(current.id) !== current) nothing(t("thread.gone"), t("thread.goneText"));
  let unread = 0;
  const rooms = [];
  for (const conversation of client.conversations.values()) {
    if (conversation !== thread.current) conversation.trim();
    if (conversation.listening) rooms.push(conversation.id);
  }
  thread.render();
  list.render(client, thread.current);
  for (const conversation of client.conversations.values()) unread += conversation.unread;
  if (client.state === "online") listening.remember(rooms);
  const title = `${unread > 0 ? `(${formatNumber(unread)}) ` : ""}${thread.current ? `${thread.current.title} – ` : ""}${t("app.title")}`;
  if (document.title !== title) document.title = title;
}

/** A new message: says it to who listens to the page, and to who looks elsewhere. @param {Conversation} conversation @param {import("./log.js").Sequenced} event */
function heard(conversation, event) {
  if (!client || client.isOwn(event)) return;
  const where = conversation === thread.current ? "" : ` (${conversation.title})`;
  announce(`${client.nameOf(event.sender)}${where}: ${plain((event.content ?? "").slice(0, ANNOUNCED_MAX))}`);
  if (event.seq > conversation.read) notify(conversation, event, () => go(addressOf(conversation)));
}

/** @param {unknown} error */
function failed(error) {
  toast(explain(error));
}

/** @param {() => unknown} run */
async function attempt(run) {
  try {
    await run();
  } catch (error) {
    failed(error);
  }
}

// --- the browser ------------------------------------------------------------------------------------------------------------

listen({
  filter: () => {
    app.dataset.pane = "list";
    list.focusFilter();
  },
  step,
  toEnd: () => thread.toEnd(),
  escape: () => {
    if (thread.current && !thread.pane.contains(document.activeElement)) thread.composer.focus();
    else if (byId("side").offsetParent === null) go("");
    else list.focusRow();
  },
}, () => arrived && client !== null);

addEventListener("hashchange", () => void follow());
addEventListener("online", () => {
  client?.hurry();
  draw();
});
addEventListener("offline", draw);
addEventListener("focus", () => {
  thread.seen();
  draw();
});
// Other tabs: one log-in and one log-out for all of them.
addEventListener("storage", ({ key, newValue }) => {
  if (key !== SESSION_KEY || login instanceof Guest) return;
  const who = Account.remembered();
  if (!login && who) enter(who);
  else if (login && newValue === null) leave(t("error.loggedOut"));
  else if (login && who && who.name !== login.name) leave(t("error.otherUser"));
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  client?.hurry();
  draw();
});
byId("status").lastElementChild?.addEventListener("click", () => client?.hurry());

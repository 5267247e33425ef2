// @ts-check
// The page: puts client and views together. The address after "#" says what is open: `room=NAME`, `group=ID`, `chat=NAME`.

import { el, setText } from "./dom.js";
import { Client } from "./protocol.js";
import { Account, Guest } from "./rest.js";
import { askNew, showPeople } from "./view-dialogs.js";
import { Entry } from "./view-entry.js";
import { List } from "./view-list.js";
import { Thread } from "./view-thread.js";

const ROOMS_EVERY_MS = 30_000;
const TOAST_MS = 6000;
/** A next try so near is called reconnecting. */
const SOON_MS = 1500;
const LISTENING_KEY = "chinwag.listening";

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
let toastTimer = 0;
let roomsTimer = 0;

const entry = new Entry(byId("entry"), enter);
const list = new List(byId("side"), {
  open: (conversation) => go(addressOf(conversation)),
  openRoom: (name) => go(`room=${encodeURIComponent(name)}`),
  create: () => client && askNew(client.guest, { openChat, openRoom, createGroup, joinGroup }),
  leave: () => void logOut(),
});
const thread = new Thread(byId("thread"), {
  back: () => go(""),
  copyLink: (conversation) => void copyLink(conversation),
  leave: (conversation) => void attempt(async () => {
    await client?.leave(conversation);
    go("");
  }),
  join: (conversation) => void attempt(() => client?.joinRoom(conversation)),
  people: (conversation) => void attempt(() => people(conversation)),
  failed,
});

// --- coming and going -------------------------------------------------------------------------------------------------------

/** @param {Account | Guest} who */
function enter(who) {
  login = who;
  arrived = false;
  const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
  client = new Client(url, who, changed);
  client.start();
}

async function logOut() {
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
  sessionStorage.removeItem(LISTENING_KEY);
  thread.nothing("", "");
  thread.client = null;
  app.hidden = true;
  document.title = "Chinwag";
  showStatus();
  entry.show(error);
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
      if (change.conversation && change.event) announce(change.conversation, change.event);
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
  entry.hide();
  app.hidden = false;
  void refreshRooms();
  void attempt(async () => {
    for (const id of remembered()) {
      if (!client?.conversations.get(id)?.listening) await client?.listen({ conversation: id }).catch(() => {});
    }
  });
  void follow();
}

/** @returns {string[]} rooms in which this tab listened */
function remembered() {
  try {
    const ids = JSON.parse(sessionStorage.getItem(LISTENING_KEY) ?? "[]");
    return Array.isArray(ids) ? ids : [];
  } catch {
    return [];
  }
}

async function refreshRooms() {
  clearTimeout(roomsTimer);
  if (!client) return;
  if (client.state === "online" && !document.hidden) list.rooms = await client.rooms().catch(() => list.rooms);
  draw();
  roomsTimer = setTimeout(() => void refreshRooms(), ROOMS_EVERY_MS);
}

// --- what is open -----------------------------------------------------------------------------------------------------------

/** @param {Conversation} conversation */
function addressOf(conversation) {
  if (conversation.kind === "group") return `group=${conversation.id}`;
  return `${conversation.kind === "room" ? "room" : "chat"}=${encodeURIComponent(conversation.name)}`;
}

/** @param {string} address */
function go(address) {
  if (location.hash.slice(1) === address) void follow();
  else location.hash = address;
}

/** Opens what the address says. */
async function follow() {
  if (!client || !arrived) return;
  const [kind, rest] = location.hash.slice(1).split(/=(.*)/s);
  const what = decode(rest ?? "");
  const found = [...client.conversations.values()].find((conversation) =>
    kind === "group" ? conversation.kind === "group" && conversation.id === what
      : conversation.kind === { room: "room", chat: "direct" }[kind] && conversation.name === what);
  if (found) {
    show(found);
    // A member of a room hears it all the same; listening is to be seen in it.
    if (found.kind === "room" && !found.listening) client.listen({ conversation: found.id }).catch(() => {});
  } else if (kind === "room" && what) {
    await client.listen({ name: what }).then(show, (error) => {
      if (error.code === "not_found" && client && !client.guest) {
        offer(`There is no room “${what}”`, "Check the name, or be the first.", "Create it", () => client?.createRoom(what));
      } else {
        nothing(`The room “${what}” can't be opened`, error.message);
      }
    });
  } else if (kind === "group" && what && !client.guest) {
    offer("You were invited to a group", "Members see who else is in it, and everything that was said.", "Join the group", () => client?.joinGroup(what));
  } else if (kind === "chat" && what && !client.guest) {
    offer(what, "You haven't talked yet.", "Start a chat", () => client?.openChat(what));
  } else {
    nothing("Chinwag", "Choose a conversation, or start one.", "list");
  }
}

/** @param {Conversation} conversation */
function show(conversation) {
  if (!client) return;
  app.dataset.pane = "thread";
  thread.open(client, conversation);
  if (matchMedia("(hover: hover)").matches) thread.composer.focus();
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

/** @param {Conversation} conversation */
async function people(conversation) {
  if (!client || conversation.kind === "direct") return;
  const members = await client.members(conversation).catch((error) => {
    if (conversation.listening) return [];
    throw error;
  });
  const names = new Set(members.map((member) => member.name));
  const listeners = conversation.kind === "room" ? conversation.listenerNames.filter((name) => !names.has(name)) : [];
  showPeople(conversation.title, members, listeners, client.guest ? null : (name) => {
    if (name !== client?.me?.name) void attempt(() => openChat(name));
  });
}

/** @param {Conversation} conversation */
async function copyLink(conversation) {
  const link = `${location.origin}/#${conversation.kind === "direct" ? `chat=${encodeURIComponent(client?.me?.name ?? "")}` : addressOf(conversation)}`;
  try {
    await navigator.clipboard.writeText(link);
    toast("Link copied");
  } catch {
    // Only pages of secure origins may write there.
    toast(link);
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
  showStatus();
  if (!client || !arrived) return;
  const current = thread.current;
  if (current && client.conversations.get(current.id) !== current) {
    nothing("Not here any more", "You aren't in this conversation any more.");
  }
  for (const conversation of client.conversations.values()) if (conversation !== thread.current) conversation.trim();
  thread.render();
  list.render(client, thread.current);
  const listening = [...client.conversations.values()].filter((conversation) => conversation.listening).map(({ id }) => id);
  if (client.state === "online") sessionStorage.setItem(LISTENING_KEY, JSON.stringify([...new Set(listening)]));
  const unread = [...client.conversations.values()].reduce((sum, conversation) => sum + conversation.unread, 0);
  document.title = `${unread > 0 ? `(${unread}) ` : ""}${thread.current ? `${thread.current.title} – ` : ""}Chinwag`;
}

function showStatus() {
  const status = byId("status");
  const state = client ? client.state : "none";
  document.body.dataset.connection = state;
  const waiting = client?.outbox?.waiting ?? 0;
  const messages = waiting > 0 ? ` · ${waiting} ${waiting === 1 ? "message" : "messages"} waiting` : "";
  status.hidden = !arrived || state === "online" || !client;
  if (status.hidden || !client) return;
  const offline = !navigator.onLine || (state === "waiting" && client.retry_at_ms - Date.now() > SOON_MS);
  setText(/** @type {Element} */ (status.firstElementChild), `${offline ? "Offline" : "Reconnecting…"}${messages}`);
}

/** @param {string} text */
function toast(text) {
  const node = byId("toast");
  clearTimeout(toastTimer);
  node.hidden = false;
  setText(node, text);
  toastTimer = setTimeout(() => {
    node.hidden = true;
  }, TOAST_MS);
}

/** Says a message for who listens to the page. @param {Conversation} conversation @param {import("./log.js").Sequenced} event */
function announce(conversation, event) {
  if (!client || client.isOwn(event)) return;
  const where = conversation === thread.current ? "" : ` (${conversation.title})`;
  byId("announce").replaceChildren(el("span", { text: `${event.sender.name}${where}: ${event.content ?? ""}` }));
}

/** @param {unknown} error */
function failed(error) {
  toast(error instanceof Error ? error.message : String(error));
}

/** @param {() => unknown} run */
async function attempt(run) {
  try {
    await run();
  } catch (error) {
    failed(error);
  }
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

addEventListener("hashchange", () => void follow());
addEventListener("online", () => {
  client?.hurry();
  draw();
});
addEventListener("offline", draw);
addEventListener("focus", () => thread.seen());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  client?.hurry();
  draw();
});
byId("status").lastElementChild?.addEventListener("click", () => client?.hurry());

const before = Account.remembered() ?? Guest.remembered();
if (before) enter(before);
else entry.show();

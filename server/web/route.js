// @ts-check
// The address after "#" says what is open: `room=NAME`, `group=ID`, `chat=NAME`. Pure.

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {{kind: "room" | "group" | "chat" | "", what: string}} Route */

/** Group ids are decimal numbers of 64 bits. */
const GROUP_ID = /^\d{1,20}$/;

/** @param {string} hash with or without "#" @returns {Route} */
export function parse(hash) {
  const [kind, rest] = hash.replace(/^#/, "").split(/=(.*)/s);
  const what = decode(rest ?? "");
  if (what && (kind === "room" || kind === "chat" || (kind === "group" && GROUP_ID.test(what)))) return { kind, what };
  return { kind: "", what: "" };
}

/** @param {Conversation} conversation */
export function addressOf(conversation) {
  if (conversation.kind === "group") return `group=${conversation.id}`;
  return conversation.kind === "room" ? roomAddress(conversation.name) : chatAddress(conversation.name);
}

/** @param {string} name */
export const roomAddress = (name) => `room=${encodeURIComponent(name)}`;

/** @param {string} name */
export const chatAddress = (name) => `chat=${encodeURIComponent(name)}`;

/** @param {Route} route @param {Conversation} conversation */
export function leadsTo({ kind, what }, conversation) {
  if (kind === "group") return conversation.kind === "group" && conversation.id === what;
  return conversation.kind === (kind === "chat" ? "direct" : kind) && conversation.name === what;
}

/** Returns the group that a link, an address or a number names. @param {string} text @returns {string | null} */
export function groupOf(text) {
  const id = text.trim().replace(/^.*#?group=/, "");
  return GROUP_ID.test(id) ? id : null;
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

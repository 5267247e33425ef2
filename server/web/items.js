// @ts-check
// What is shown of a conversation, from top to bottom: messages, and between them days, the mark of what is new, comings and goings.
// Pure: makes no nodes.

/**
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./log.js").Sequenced} Sequenced
 * @typedef {import("./shelf.js").Pending} Pending
 * @typedef {"sending" | "failed" | "stored" | "delivered" | "read" | ""} Stage
 * @typedef {{kind: "day" | "new" | "note" | "message", key: string, at_ms: number, name: string, username: string, named: boolean, text: string, own: boolean,
 *   first: boolean, last: boolean, stage: Stage, edited: boolean, deleted: boolean, error: string, entry?: Sequenced, pending?: string}} Item
 *   `named`: the sender's name is shown; `first` and `last` of a run of messages of one sender
 */

/** Messages of one sender within this time stand together. */
const RUN_MS = 5 * 60_000;
export const NEW_KEY = "new";

/**
 * @param {Conversation} conversation
 * @param {Pending[]} pending what isn't in the log yet
 * @param {(who: import("./log.js").Who) => string} nameOf what to call a user
 * @returns {Item[]}
 */
export function itemsOf(conversation, pending, nameOf = ({ name }) => name) {
  const list = new Items();
  const direct = conversation.kind === "direct";
  const { excerpt, newFrom } = conversation;
  // What is new begins before what is held: the mark has no place yet.
  let marked = newFrom === 0 || (newFrom < excerpt.from && !excerpt.complete);
  for (const entry of conversation.entries) {
    const own = conversation.isOwn(entry);
    if (!marked && entry.event === "message" && !own && entry.seq >= newFrom) {
      marked = true;
      list.mark(entry.timestamp);
    }
    if (entry.event !== "message") {
      list.add({ ...blank(entry.timestamp), kind: "note", key: `n ${entry.epoch} ${entry.seq}`, name: nameOf(entry.sender), entry });
      continue;
    }
    const key = entry.message_id === undefined ? `s ${entry.epoch} ${entry.seq}` : `m ${own ? "" : entry.sender.id} ${entry.message_id}`;
    const item = blank(entry.timestamp);
    item.key = key;
    item.text = entry.content ?? "";
    item.name = own ? "" : nameOf(entry.sender);
    item.username = entry.sender.name;
    item.named = !own && !direct;
    item.own = own;
    item.stage = own ? reached(conversation, entry.seq) : "";
    item.edited = entry.edited_at !== undefined;
    item.deleted = entry.deleted === true;
    item.entry = entry;
    list.add(item);
  }
  if (!excerpt.attached || pending.length === 0) return list.all;
  const there = new Set(conversation.entries.map(({ message_id }) => message_id));
  for (const item of pending) {
    if (there.has(item.message_id)) continue;
    const stage = item.error ? "failed" : item.stored ? "stored" : "sending";
    list.add({ ...blank(item.at_ms), key: `m  ${item.message_id}`, text: item.content, own: true, stage, error: item.error ?? "", pending: item.message_id });
  }
  return list.all;
}

class Items {
  /** @type {Item[]} */
  all = [];
  /** @type {Item | null} */
  #before = null;
  /** Local midnights around the last item. */
  #day = [0, 0];

  /** @param {Item} item */
  add(item) {
    if (item.at_ms < this.#day[0] || item.at_ms >= this.#day[1]) {
      const midnight = new Date(item.at_ms).setHours(0, 0, 0, 0);
      this.#day = [midnight, new Date(midnight).setHours(24, 0, 0, 0)];
      // Clocks that step back could show one day twice.
      this.all.push({ ...blank(midnight), kind: "day", key: `day ${midnight} ${item.key}` });
      this.#before = null;
    }
    const before = this.#before;
    if (item.kind === "message" && before?.kind === "message" && before.own === item.own && (item.own || before.username === item.username)
      && item.at_ms - before.at_ms < RUN_MS) {
      item.first = false;
      before.last = false;
    }
    this.all.push(item);
    this.#before = item;
  }

  /** @param {number} at_ms */
  mark(at_ms) {
    this.all.push({ ...blank(at_ms), kind: "new", key: NEW_KEY });
    this.#before = null;
  }
}

/** @param {number} at_ms @returns {Item} */
function blank(at_ms) {
  return { kind: "message", key: "", at_ms, name: "", username: "", named: false, text: "", own: false, first: true, last: true, stage: "", edited: false,
    deleted: false, error: "", entry: undefined, pending: undefined };
}

/** @param {Conversation} conversation @param {number} seq @returns {Stage} */
function reached(conversation, seq) {
  if (conversation.kind !== "direct") return "stored";
  return seq <= conversation.peer.read ? "read" : seq <= conversation.peer.delivered ? "delivered" : "stored";
}

// @ts-check
// Where one writes: Enter sends, Shift+Enter makes a line. Also tells when the user types, and edits sent messages. What isn't sent
// yet is kept per conversation while the tab lives.

import { el, icon, iconButton, setText } from "./dom.js";
import { plural, t } from "./i18n.js";
import { storage } from "./shelf.js";

/** While the user goes on typing, it is said this often (the server forgets it after 3 s). */
const TYPING_EVERY_MS = 2000;
/** Without a key for this long, the user doesn't type any more. */
const TYPING_IDLE_MS = 2500;
/** The counter appears when this much is left. */
const COUNTER_FROM = 500;
const HEIGHT_MAX_PX = 180;
const DRAFTS_KEY = "chinwag.drafts";
/** Drafts kept at most; the oldest go first. */
const DRAFTS_MAX = 50;

/**
 * @typedef {{send: (text: string) => void, edit: (text: string) => void, typing: (active: boolean) => void, editLast: () => void}} Actions
 */

/** What one user is writing, by conversation. */
export class Drafts {
  #owner = "";
  /** @type {Map<string, string>} */
  #drafts = new Map();

  /** Takes what a page before this one has left, if it was the same user's. @param {string} owner */
  begin(owner) {
    this.#owner = owner;
    this.#drafts.clear();
    try {
      const kept = JSON.parse(storage("sessionStorage")?.getItem(DRAFTS_KEY) ?? "null");
      if (kept.owner !== owner) throw new Error("another user's");
      for (const [key, draft] of kept.drafts) if (typeof key === "string" && typeof draft === "string") this.#drafts.set(key, draft);
    } catch {
      this.#clear();
    }
  }

  /** @param {string} key */
  get(key) {
    return this.#drafts.get(key) ?? "";
  }

  /** @param {string} key @param {string} draft */
  set(key, draft) {
    this.#drafts.delete(key);
    if (draft) this.#drafts.set(key, draft);
    if (this.#drafts.size > DRAFTS_MAX) this.#drafts.delete(this.#drafts.keys().next().value ?? "");
    try {
      storage("sessionStorage")?.setItem(DRAFTS_KEY, JSON.stringify({ owner: this.#owner, drafts: [...this.#drafts] }));
    } catch {
      // Full or forbidden: they are kept until a reload.
    }
  }

  /** The user has gone: nothing is left for the next one. */
  forget() {
    this.#owner = "";
    this.#clear();
  }

  #clear() {
    this.#drafts.clear();
    storage("sessionStorage")?.removeItem(DRAFTS_KEY);
  }
}

/** The form below the messages. */
export class Composer {
  #drafts = new Drafts();
  #key = "";
  #editing = false;
  #said_ms = 0;
  #idle = 0;
  /** @type {typeof import("./emoji.js") | null} */
  #emoji = null;

  /** @param {Actions} actions */
  constructor(actions) {
    this.actions = actions;
    this.max = 4096;
    this.input = el("textarea", { rows: 1, "aria-label": t("composer.label"), placeholder: t("composer.label"), dir: "auto", enterkeyhint: "send",
      autocomplete: "off", oninput: () => this.#typed(), onkeydown: (/** @type {KeyboardEvent} */ event) => this.#pressed(event),
      onblur: () => this.#still() });
    this.counter = el("span", { class: "counter", role: "status" });
    this.button = el("button", { type: "submit", class: "icon-button filled send", "aria-label": t("composer.send"), title: t("composer.send") }, icon("send"));
    this.banner = el("div", { class: "editing", hidden: true }, icon("edit"), el("span", { text: t("composer.editing") }),
      iconButton("close", t("composer.cancel"), () => this.stopEditing()));
    // Its list is large, and comes when it is wanted.
    this.emoji = iconButton("smile", t("emoji.open"), () => void this.#pickEmoji(), "emoji");
    this.root = el("form", { class: "composer", onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#submit();
    } }, this.banner, this.input, this.counter, this.emoji, this.button);
    this.#fit();
  }

  /** Somebody has come in. @param {string} owner who */
  begin(owner) {
    this.#drafts.begin(owner);
  }

  /** Forgets whatever was written: the user has gone. */
  forget() {
    this.#still();
    this.#key = "";
    this.#editing = false;
    this.banner.hidden = true;
    this.input.value = "";
    this.#drafts.forget();
  }

  /** Shows what was being written in a conversation. @param {string} key */
  open(key) {
    if (key === this.#key) return;
    this.#leave();
    this.#key = key;
    this.input.value = this.#drafts.get(key);
    this.#fit();
  }

  /** @param {string} text what stands */
  edit(text) {
    this.#leave();
    this.#editing = true;
    this.banner.hidden = false;
    this.input.value = text;
    this.#fit();
    this.input.focus();
    this.input.setSelectionRange(text.length, text.length);
  }

  stopEditing() {
    if (!this.#editing) return;
    this.#editing = false;
    this.banner.hidden = true;
    this.input.value = this.#drafts.get(this.#key);
    this.#fit();
    this.input.focus();
  }

  focus() {
    this.input.focus();
  }

  /** Begins an answer to a message. @param {string} text */
  quote(text) {
    const quoted = text.trim().split("\n").map((line) => `> ${line}`).join("\n");
    this.input.setRangeText(`${quoted}\n`, 0, 0, "end");
    this.input.focus();
    this.input.setSelectionRange(this.input.value.length, this.input.value.length);
    this.#typed();
  }

  /** Puts text where the cursor is. @param {string} text */
  insert(text) {
    this.input.setRangeText(text, this.input.selectionStart, this.input.selectionEnd, "end");
    this.input.focus();
    this.#typed();
  }

  /** Loads the emoji, so that `:names:` are known. */
  async loadEmoji() {
    this.#emoji ??= await import("./emoji.js");
    return this.#emoji;
  }

  async #pickEmoji() {
    const { EmojiPicker } = await this.loadEmoji().catch(() => ({ EmojiPicker: null }));
    if (!EmojiPicker || !this.emoji.isConnected) return;
    const { button } = new EmojiPicker((char) => this.insert(char));
    this.emoji.replaceWith(button);
    this.emoji = button;
    button.click();
  }

  #leave() {
    this.#still();
    if (this.#editing) {
      this.#editing = false;
      this.banner.hidden = true;
    } else if (this.#key) {
      this.#drafts.set(this.#key, this.input.value);
    }
  }

  #submit() {
    const text = (this.#emoji?.expand(this.input.value) ?? this.input.value).trim();
    if (!text || characters(text) > this.max) return;
    this.#said_ms = 0;
    clearTimeout(this.#idle);
    if (this.#editing) {
      this.stopEditing();
      this.actions.edit(text);
    } else {
      this.input.value = "";
      this.#drafts.set(this.#key, "");
      this.#fit();
      this.actions.send(text);
    }
    this.input.focus();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    // While an input method composes, Enter belongs to it.
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "Escape" && this.#editing) {
      event.preventDefault();
      this.stopEditing();
    } else if (event.key === "ArrowUp" && this.input.value === "" && !this.#editing) {
      event.preventDefault();
      this.actions.editLast();
    }
  }

  #typed() {
    this.#fit();
    if (this.input.value.includes(":")) void this.loadEmoji().catch(() => {});
    if (this.#editing) return;
    this.#drafts.set(this.#key, this.input.value);
    clearTimeout(this.#idle);
    if (this.input.value.trim() === "") {
      this.#still();
      return;
    }
    this.#idle = setTimeout(() => this.#still(), TYPING_IDLE_MS);
    if (Date.now() - this.#said_ms < TYPING_EVERY_MS) return;
    this.#said_ms = Date.now();
    this.actions.typing(true);
  }

  #still() {
    clearTimeout(this.#idle);
    if (this.#said_ms === 0) return;
    this.#said_ms = 0;
    this.actions.typing(false);
  }

  #fit() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight + 2, HEIGHT_MAX_PX)}px`;
    const left = this.max - characters(this.input.value.trim());
    setText(this.counter, left > COUNTER_FROM ? "" : String(left));
    const said = left > COUNTER_FROM ? "" : plural(left < 0 ? "composer.over" : "composer.left", Math.abs(left));
    if (this.counter.title !== said) this.counter.title = said;
    this.counter.classList.toggle("over", left < 0);
    this.button.disabled = left < 0 || left === this.max;
  }
}

/** Characters as the server counts them. @param {string} text */
function characters(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

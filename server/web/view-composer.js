// @ts-check
// Where one writes: Enter sends, Shift+Enter makes a line. Also tells when the user types, and edits sent messages.

import { el, icon, iconButton, setText } from "./dom.js";
import { characters } from "./format.js";

/** While the user goes on typing, it is said this often (the server forgets it after 3 s). */
const TYPING_EVERY_MS = 2000;
/** Without a key for this long, the user doesn't type any more. */
const TYPING_IDLE_MS = 2500;
/** The counter appears when this much is left. */
const COUNTER_FROM = 500;
const HEIGHT_MAX_PX = 180;

/**
 * @typedef {{send: (text: string) => void, edit: (text: string) => void, typing: (active: boolean) => void, editLast: () => void}} Actions
 */

/** The form below the messages. */
export class Composer {
  #drafts = new Map();
  #key = "";
  #editing = false;
  #said_ms = 0;
  #idle = 0;

  /** @param {Actions} actions */
  constructor(actions) {
    this.actions = actions;
    this.max = 4096;
    this.input = el("textarea", { rows: 1, "aria-label": "Message", placeholder: "Message", dir: "auto", enterkeyhint: "send",
      autocomplete: "off", oninput: () => this.#typed(), onkeydown: (/** @type {KeyboardEvent} */ event) => this.#pressed(event),
      onblur: () => this.#still() });
    this.counter = el("span", { class: "counter", role: "status" });
    this.button = el("button", { type: "submit", class: "icon-button filled send", "aria-label": "Send", title: "Send" }, icon("send"));
    this.banner = el("div", { class: "editing", hidden: true }, icon("edit"), el("span", { text: "Editing a message" }),
      iconButton("close", "Cancel editing", () => this.stopEditing()));
    this.root = el("form", { class: "composer", onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#submit();
    } }, this.banner, this.input, this.counter, this.button);
    this.#fit();
  }

  /** Shows what was being written in a conversation. @param {string} key */
  open(key) {
    if (key === this.#key) return;
    this.#leave();
    this.#key = key;
    this.input.value = this.#drafts.get(key) ?? "";
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
    this.input.value = this.#drafts.get(this.#key) ?? "";
    this.#fit();
    this.input.focus();
  }

  focus() {
    this.input.focus();
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
    const text = this.input.value.trim();
    if (!text || characters(text) > this.max) return;
    this.#said_ms = 0;
    clearTimeout(this.#idle);
    if (this.#editing) {
      this.stopEditing();
      this.actions.edit(text);
    } else {
      this.input.value = "";
      this.#drafts.delete(this.#key);
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
    if (this.#editing) return;
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
    this.counter.classList.toggle("over", left < 0);
    this.button.disabled = left < 0 || left === this.max;
  }
}

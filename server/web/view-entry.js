// @ts-check
// The first screen: guest, log in, or register.

import { el, setText } from "./dom.js";
import { Account, Guest } from "./rest.js";

const NAME = "Name";
/** @type {Record<string, {tab: string, button: string, hint: string}>} */
const MODES = {
  login: { tab: "Log in", button: "Log in", hint: "" },
  register: { tab: "Register", button: "Create account", hint: "At least 3 characters for the name, 6 for the password." },
  guest: { tab: "Guest", button: "Enter as guest", hint: "Guests talk in public rooms. Letters, digits, “-” and “_”." },
};

/** The form that ends in a login. */
export class Entry {
  #mode = "login";
  #busy = false;

  /**
   * @param {HTMLElement} root
   * @param {(login: Account | Guest) => void} entered
   */
  constructor(root, entered) {
    this.root = root;
    this.entered = entered;
    this.error = el("p", { class: "error", role: "alert" });
    this.hint = el("p", { class: "hint" });
    this.name = el("input", { id: "entry-name", name: "username", autocomplete: "username", autocapitalize: "none",
      spellcheck: "false", required: true, maxlength: 64, dir: "auto" });
    this.password = el("input", { id: "entry-password", name: "password", type: "password", required: true, maxlength: 1024 });
    this.passwordRow = el("label", { class: "field", for: "entry-password" }, el("span", { text: "Password" }), this.password);
    this.button = el("button", { class: "primary", type: "submit" });
    this.tabs = Object.entries(MODES).map(([mode, { tab }]) =>
      el("button", { type: "button", class: "tab", data: { mode }, text: tab, onclick: () => this.choose(mode) }),
    );
    const form = el("form", { class: "card", onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#submit();
    } },
      el("div", { class: "brand" }, el("img", { src: "/web/icon.svg", alt: "", width: 44, height: 44 }),
        el("h1", { text: "Chinwag" })),
      el("div", { class: "tabs", role: "group", "aria-label": "How to come in" }, ...this.tabs),
      el("label", { class: "field", for: "entry-name" }, el("span", { text: NAME }), this.name),
      this.passwordRow, this.hint, this.error, this.button);
    root.append(form);
    this.choose(this.#mode);
  }

  /** @param {string} [error] what went wrong before */
  show(error = "") {
    this.root.hidden = false;
    this.#busy = false;
    this.password.value = "";
    setText(this.error, error);
    this.#update();
    this.name.focus();
  }

  hide() {
    this.root.hidden = true;
  }

  /** @param {string} mode */
  choose(mode) {
    this.#mode = mode;
    setText(this.error, "");
    this.#update();
  }

  #update() {
    const mode = MODES[this.#mode];
    for (const tab of this.tabs) tab.setAttribute("aria-pressed", String(tab.dataset.mode === this.#mode));
    const guest = this.#mode === "guest";
    this.passwordRow.hidden = guest;
    this.password.disabled = guest;
    this.password.autocomplete = this.#mode === "register" ? "new-password" : "current-password";
    setText(this.hint, mode.hint);
    setText(this.button, this.#busy ? "One moment…" : mode.button);
    this.button.disabled = this.#busy;
  }

  async #submit() {
    if (this.#busy) return;
    const [name, password] = [this.name.value.trim(), this.password.value];
    this.#busy = true;
    setText(this.error, "");
    this.#update();
    try {
      if (this.#mode === "guest") this.entered(new Guest(name));
      else if (this.#mode === "register") this.entered(await Account.register(name, password));
      else this.entered(await Account.login(name, password));
      this.password.value = "";
    } catch (error) {
      setText(this.error, error instanceof Error ? error.message : String(error));
      this.#busy = false;
      this.#update();
    }
  }
}

// @ts-check
// The first screen: guest, log in, or register.

import { el, setText } from "./dom.js";
import { explain } from "./errors.js";
import { t } from "./i18n.js";
import { Account, Guest, RestError } from "./rest.js";

/** Keys of their texts. @type {Record<string, {tab: string, button: string, hint: string}>} */
const MODES = {
  login: { tab: "entry.login", button: "entry.login", hint: "" },
  register: { tab: "entry.register", button: "entry.create", hint: "entry.registerHint" },
  guest: { tab: "entry.guest", button: "entry.asGuest", hint: "entry.guestHint" },
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
    this.hint = el("p", { class: "hint", id: "entry-hint" });
    this.tagline = el("p", { class: "tagline" });
    this.name = el("input", { id: "entry-name", name: "username", autocomplete: "username", autocapitalize: "none",
      spellcheck: "false", required: true, maxlength: 64, dir: "auto", "aria-describedby": "entry-hint" });
    this.password = el("input", { id: "entry-password", name: "password", type: "password", required: true, maxlength: 1024 });
    this.passwordRow = el("label", { class: "field", for: "entry-password" }, el("span", { text: t("entry.password") }), this.password);
    this.button = el("button", { class: "primary", type: "submit" });
    this.tabs = Object.entries(MODES).map(([mode, { tab }]) =>
      el("button", { type: "button", class: "tab", data: { mode }, text: t(tab), onclick: () => this.choose(mode) }),
    );
    const form = el("form", { class: "card", onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#submit();
    } },
      el("div", { class: "brand" }, el("img", { src: "/web/icon.svg", alt: "", width: 44, height: 44 }),
        el("h1", { text: t("app.title") })),
      this.tagline,
      el("div", { class: "tabs", role: "group", "aria-label": t("entry.how") }, ...this.tabs),
      el("label", { class: "field", for: "entry-name" }, el("span", { text: t("entry.name") }), this.name),
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
    setText(this.hint, mode.hint && t(mode.hint));
    setText(this.tagline, t(location.hash.length > 1 ? "entry.invited" : "entry.tagline"));
    setText(this.button, t(this.#busy ? "entry.busy" : mode.button));
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
      // The server doesn't tell which of the two is wrong.
      const refused = this.#mode === "login" && error instanceof RestError && error.status === 401;
      setText(this.error, refused ? t("error.wrongPassword") : explain(error));
      this.#busy = false;
      this.#update();
    }
  }
}

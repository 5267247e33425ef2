// @ts-check
// Dialogs: a new conversation, who is in one, and questions. The browser's own <dialog>: focus, Escape and the rest are its business.
// Loaded when the first one is opened.

import { avatar, el, iconButton } from "./dom.js";
import { explain } from "./errors.js";
import { t } from "./i18n.js";
import { groupOf } from "./route.js";

/**
 * @typedef {{openChat: (name: string) => Promise<unknown>, openRoom: (name: string) => Promise<unknown>,
 *   createGroup: (name: string) => Promise<unknown>, joinGroup: (id: string) => Promise<unknown>}} Actions
 * @typedef {{name: string, display_name?: string, role?: string, online?: boolean}} Person
 */

/** @param {string} title @param {...Node} children @returns {HTMLDialogElement} */
export function dialog(title, ...children) {
  const before = document.activeElement;
  const node = el("dialog", { class: "dialog", "aria-label": title },
    el("header", { class: "bar" }, el("h2", { text: title }), iconButton("close", t("dialog.close"), () => node.close())), ...children);
  node.addEventListener("close", () => {
    const [focused, inside] = [document.activeElement, node.contains(document.activeElement)];
    node.remove();
    if ((inside || focused === document.body) && before instanceof HTMLElement && before.isConnected) before.focus();
  });
  // A click beside it closes it.
  node.addEventListener("click", (/** @type {Event} */ event) => event.target === node && node.close());
  document.body.append(node);
  node.showModal();
  return node;
}

/** Asks what to open or create. @param {boolean} guest @param {Actions} actions */
export function askNew(guest, actions) {
  const forms = [form("new.room", "new.roomHint", "new.open", 50, actions.openRoom)];
  if (!guest) {
    forms.unshift(form("new.chat", "new.chatHint", "new.start", 64, actions.openChat));
    forms.push(form("new.group", "new.groupHint", "new.create", 100, actions.createGroup),
      form("new.join", "new.joinHint", "new.joinVerb", 300, async (text) => {
        const id = groupOf(text);
        if (id === null) throw new Error(t("new.notALink"));
        await actions.joinGroup(id);
      }));
  }
  const node = dialog(t("new.title"), ...forms);
  node.querySelector("input")?.focus();

  /**
   * @param {string} title @param {string} hint @param {string} verb @param {number} maxlength
   * @param {(text: string) => Promise<unknown>} run
   */
  function form(title, hint, verb, maxlength, run) {
    const input = el("input", { placeholder: t(hint), maxlength, required: true, dir: "auto", autocomplete: "off", autocapitalize: "none" });
    return askForm(el("label", { class: "field" }, el("span", { text: t(title) }), input), t(verb), async () => {
      await run(input.value.trim());
      node.close();
    });
  }
}

/**
 * A field, a button, and what went wrong.
 * @param {HTMLElement} field @param {string} verb @param {() => Promise<unknown>} run
 * @returns {HTMLFormElement}
 */
export function askForm(field, verb, run) {
  const error = el("p", { class: "error", role: "alert" });
  const button = el("button", { type: "submit", text: verb });
  return el("form", { class: "ask", onsubmit: async (/** @type {Event} */ event) => {
    event.preventDefault();
    error.textContent = "";
    button.disabled = true;
    try {
      await run();
    } catch (failure) {
      error.textContent = explain(failure);
    }
    button.disabled = false;
  } }, field, button, error);
}

/**
 * Asks whether to do something.
 * @param {string} title @param {string} text @param {string} verb @returns {Promise<boolean>}
 */
export function confirm(title, text, verb) {
  return new Promise((resolve) => {
    const node = dialog(title, el("p", { text }),
      el("div", { class: "actions" }, el("button", { type: "button", text: t("dialog.cancel"), onclick: () => node.close() }),
        el("button", { type: "button", class: "danger", text: verb, onclick: () => {
          resolve(true);
          node.close();
        } })));
    node.addEventListener("close", () => resolve(false));
  });
}

/**
 * Shows who is in a conversation.
 * @param {string} title @param {string[]} listeners names of those who are here without being members
 * @param {(after?: string) => Promise<{members: Person[], next?: string}>} members a page of them
 * @param {{me: string, chat: ((name: string) => void) | null}} options `chat` opens a chat with someone
 * @returns {Promise<void>} when the first page is shown; rejects if it can't be had
 */
export async function showPeople(title, listeners, members, { me, chat }) {
  const list = el("ul", {});
  const heading = el("h3", { text: t("people.members") });
  const more = el("button", { type: "button", class: "small", text: t("people.more"), onclick: () => void load(next).catch(() => {}) });
  const named = new Set();
  /** @type {string | undefined} */
  let next;
  await load();
  const here = listeners.filter((name) => !named.has(name));
  const parts = [];
  if (named.size > 0) parts.push(heading, list, more);
  if (here.length > 0) {
    parts.push(el("h3", { text: t(named.size > 0 ? "people.alsoHere" : "people.here") }), el("ul", {}, ...here.map((name) => person({ name, online: true }))));
  }
  if (parts.length === 0) parts.push(el("p", { class: "hint", text: t("people.nobody") }));
  const node = dialog(title, el("div", { class: "people" }, ...parts));

  /** @param {string} [after] */
  async function load(after) {
    more.disabled = true;
    try {
      const page = await members(after);
      next = page.next;
      for (const member of page.members) named.add(member.name);
      list.append(...page.members.map(person));
    } finally {
      more.disabled = false;
      more.hidden = next === undefined;
    }
  }

  /** @param {Person} who */
  function person({ name, display_name, role, online }) {
    const label = [el("span", { class: "picture" }, avatar(name), el("span", { class: online ? "dot online" : "dot", title: t(online ? "presence.online" : "presence.offline") })),
      el("bdi", { class: "who", text: display_name || name }), display_name ? el("bdi", { class: "username", text: `@${name}` }) : null,
      el("span", { class: "note", text: [role === "admin" ? t("people.admin") : "", name === me ? t("people.you") : ""].filter(Boolean).join(" · ") })];
    if (!chat || name === me) return el("li", { class: "person" }, ...label);
    return el("li", {}, el("button", { type: "button", class: "person", title: t("people.chatWith", { name }), onclick: () => {
      node.close();
      chat(name);
    } }, ...label));
  }
}

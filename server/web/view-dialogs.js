// @ts-check
// Dialogs: a new conversation, and who is in one. The browser's own <dialog>: focus, Escape and the rest are its business.

import { avatar, el, iconButton } from "./dom.js";

/**
 * @typedef {{openChat: (name: string) => Promise<unknown>, openRoom: (name: string) => Promise<unknown>,
 *   createGroup: (name: string) => Promise<unknown>, joinGroup: (id: string) => Promise<unknown>}} Actions
 */

/** @param {string} title @param {...Node} children @returns {HTMLDialogElement} */
function dialog(title, ...children) {
  const node = el("dialog", { class: "dialog", "aria-label": title },
    el("header", { class: "bar" }, el("h2", { text: title }), iconButton("close", "Close", () => node.close())), ...children);
  node.addEventListener("close", () => node.remove());
  // A click beside it closes it.
  node.addEventListener("click", (/** @type {Event} */ event) => event.target === node && node.close());
  document.body.append(node);
  node.showModal();
  return node;
}

/** Asks what to open or create. @param {boolean} guest @param {Actions} actions */
export function askNew(guest, actions) {
  const forms = [form("Room", "Open a public room, or create it", "Open", 50, actions.openRoom)];
  if (!guest) {
    forms.unshift(form("Chat", "Username", "Start", 64, actions.openChat));
    forms.push(form("New group", "Name of the group", "Create", 100, actions.createGroup),
      form("Join a group", "Link or number you were given", "Join", 200, (text) => actions.joinGroup(text.replace(/^.*#group=/, ""))));
  }
  const node = dialog("New conversation", ...forms);

  /**
   * @param {string} title @param {string} placeholder @param {string} verb @param {number} maxlength
   * @param {(text: string) => Promise<unknown>} run
   */
  function form(title, placeholder, verb, maxlength, run) {
    const input = el("input", { placeholder, maxlength, required: true, dir: "auto", autocomplete: "off", autocapitalize: "none" });
    const error = el("p", { class: "error", role: "alert" });
    const button = el("button", { type: "submit", text: verb });
    return el("form", { class: "ask", onsubmit: async (/** @type {Event} */ event) => {
      event.preventDefault();
      error.textContent = "";
      button.disabled = true;
      try {
        await run(input.value.trim());
        node.close();
      } catch (failure) {
        error.textContent = failure instanceof Error ? failure.message : String(failure);
      }
      button.disabled = false;
    } }, el("label", { class: "field" }, el("span", { text: title }), input), button, error);
  }
}

/**
 * Shows who is in a conversation.
 * @param {string} title
 * @param {{name: string, role?: string, online?: boolean}[]} members @param {string[]} listeners
 * @param {((name: string) => void) | null} chat opens a chat with someone
 */
export function showPeople(title, members, listeners, chat) {
  const lists = [];
  if (members.length > 0) {
    lists.push(el("h3", { text: "Members" }), list(members.map(({ name, role, online }) => ({ name, online, note: role === "admin" ? "admin" : "" }))));
  }
  if (listeners.length > 0) lists.push(el("h3", { text: members.length > 0 ? "Also here now" : "Here now" }), list(listeners.map((name) => ({ name, online: true, note: "" }))));
  if (lists.length === 0) lists.push(el("p", { class: "hint", text: "Nobody is here." }));
  const node = dialog(title, el("div", { class: "people" }, ...lists));

  /** @param {{name: string, online?: boolean, note: string}[]} people */
  function list(people) {
    return el("ul", {}, ...people.map(({ name, online, note }) => {
      const picture = el("span", { class: "picture" }, avatar(name), el("span", { class: online ? "dot online" : "dot" }));
      const label = [picture, el("bdi", { text: name }), el("span", { class: "note", text: note })];
      if (!chat) return el("li", { class: "person" }, ...label);
      return el("li", {}, el("button", { type: "button", class: "person", title: `Chat with ${name}`, onclick: () => {
        node.close();
        chat(name);
      } }, ...label));
    }));
  }
}

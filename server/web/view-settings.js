// @ts-check
// The dialog of one's profile and of what this browser is told: display name, theme, language, notifications, and which keys there are.
// Loaded when it is opened.

import { el } from "./dom.js";
import { chosenLanguage, languages, setLanguage, t } from "./i18n.js";
import { canNotify, mayNotify } from "./notify.js";
import { THEMES, change, settings } from "./settings.js";
import { askForm, dialog } from "./view-dialogs.js";

const DISPLAY_NAME_MAX = 64;
const KEYS = [["Ctrl K", "settings.keyFilter"], ["Alt ↑ ↓", "settings.keyNext"], ["Alt Shift ↑ ↓", "settings.keyUnread"],
  ["↑ ↓", "settings.keyMessages"], ["↑", "settings.keyEdit"], ["Ctrl End", "settings.keyEnd"], ["Esc", "settings.keyEscape"]];

/**
 * @param {{name: string, display_name?: string, guest: boolean}} me
 * @param {{rename: (name: string) => Promise<void>, languageChanged: () => void, saved: () => void}} actions
 */
export function showSettings(me, actions) {
  const chosen = settings();
  const parts = [];
  if (!me.guest) {
    const name = el("input", { value: me.display_name ?? "", maxlength: DISPLAY_NAME_MAX, placeholder: me.name, dir: "auto", autocomplete: "nickname" });
    const field = el("label", { class: "field" }, el("span", { text: t("settings.displayName") }), name);
    const form = askForm(field, t("settings.save"), async () => {
      await actions.rename(name.value.trim());
      actions.saved();
    });
    name.setAttribute("aria-describedby", "display-name-hint");
    form.append(el("p", { class: "hint", id: "display-name-hint", text: t("settings.displayNameHint", { name: me.name }) }));
    parts.push(form);
  }
  parts.push(choice("theme", t("settings.theme"), THEMES.map((theme) => [theme, t(`settings.${theme}`)]), chosen.theme, (theme) => change({ theme })));
  const options = [["auto", t("settings.auto")], ...languages.map(({ code, name }) => [code, name])];
  parts.push(choice("language", t("settings.language"), options, chosenLanguage(), (code) => void setLanguage(code).then(actions.languageChanged, () => {})));
  parts.push(notifications(chosen.notifications));
  parts.push(el("section", { class: "keys" }, el("h3", { text: t("settings.keys") }),
    el("dl", {}, ...KEYS.flatMap(([keys, what]) => [el("dt", {}, ...keys.split(" ").map((key) => el("kbd", { text: key }))), el("dd", { text: t(what) })]))));
  dialog(t("settings.title"), el("div", { class: "settings" }, ...parts));
}

/** @param {boolean} on */
function notifications(on) {
  const hint = el("p", { class: "hint", role: "status" });
  const box = el("input", { type: "checkbox", checked: on && canNotify() && Notification.permission === "granted", onchange: async () => {
    hint.textContent = "";
    const allowed = box.checked && (await mayNotify());
    if (box.checked && !allowed) hint.textContent = t("settings.blocked");
    box.checked = allowed;
    change({ notifications: allowed });
  } });
  return el("div", { class: "switches" }, el("label", { class: "switch" }, box, el("span", { text: t("settings.notifications") })), hint);
}

/**
 * @param {string} name @param {string} title @param {string[][]} options values and texts @param {string} chosen
 * @param {(value: string) => void} choose
 */
function choice(name, title, options, chosen, choose) {
  return el("fieldset", { class: "choice" }, el("legend", { text: title }), el("div", { class: "segments" }, ...options.map(([value, text]) => el("label", {},
    el("input", { type: "radio", name, value, checked: value === chosen, onchange: () => choose(value) }), el("bdi", { text })))));
}

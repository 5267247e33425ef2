// @ts-check
// What this browser is told to do, whoever is logged in: the theme and whether to notify. All tabs follow. (The language is kept by
// `i18n.js`.)

import { storage } from "./shelf.js";

const KEY = "chinwag.settings";
export const THEMES = ["system", "light", "dark"];

/** @typedef {{theme: string, notifications: boolean}} Settings */

/** @returns {Settings} */
export function settings() {
  try {
    const kept = JSON.parse(storage("localStorage")?.getItem(KEY) ?? "{}");
    return { theme: THEMES.includes(kept.theme) ? kept.theme : "system", notifications: kept.notifications === true };
  } catch {
    return { theme: "system", notifications: false };
  }
}

/** @param {Partial<Settings>} changed */
export function change(changed) {
  try {
    storage("localStorage")?.setItem(KEY, JSON.stringify({ ...settings(), ...changed }));
  } catch {
    // Full or forbidden: it holds until a reload, which is all that can be had.
  }
  applyTheme(changed.theme ?? settings().theme);
}

/** Dresses the page. @param {string} theme */
export function applyTheme(theme) {
  const { dataset } = document.documentElement;
  if (theme === "system") delete dataset.theme;
  else dataset.theme = theme;
}

globalThis.addEventListener?.("storage", ({ key }) => {
  if (key === KEY) applyTheme(settings().theme);
});

// @ts-check
// In which public rooms this tab listens, kept until it is closed: a reload goes on listening.

import { storage } from "./shelf.js";

const KEY = "chinwag.listening";
let kept = "";

/** @returns {string[]} ids of rooms */
export function remembered() {
  try {
    const ids = JSON.parse(storage("sessionStorage")?.getItem(KEY) ?? "[]");
    return Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}

/** @param {string[]} ids */
export function remember(ids) {
  const text = JSON.stringify(ids);
  if (text === kept) return;
  kept = text;
  try {
    storage("sessionStorage")?.setItem(KEY, text);
  } catch {
    // Full or forbidden: a reload listens only to what it opens.
  }
}

export function forget() {
  kept = "";
  storage("sessionStorage")?.removeItem(KEY);
}

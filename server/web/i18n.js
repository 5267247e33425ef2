// @ts-check
// The language of the page: its texts (`messages/*.js`), its direction, and how it writes numbers, days and times. English comes with
// the page, other languages are loaded when they are chosen. Beyond `setLanguage`, nothing here touches the page.

import en from "./messages/en.js";
import { storage } from "./shelf.js";

/** @typedef {{[key: string]: string}} Messages */
/** @typedef {{[name: string]: string | number}} Params */

/** What can be chosen, each by its own name. */
export const languages = [
  { code: "en", name: "English" },
  { code: "de", name: "Deutsch" },
  { code: "ar", name: "العربية" },
];

const RIGHT_TO_LEFT = new Set(["ar"]);
const CHOICE_KEY = "chinwag.language";
/** Around what comes from people: its direction must not reorder the sentence it stands in. */
const [ISOLATE, END_ISOLATE] = ["\u2068", "\u2069"];
const DAY_MS = 86_400_000;
/** So many days back, a date needs its year. */
const YEAR_DAYS = 180;

let code = "en";
/** @type {Messages} */
let messages = en;
let formats = makeFormats(code);

/** Returns the code of the language that is shown. */
export const language = () => code;

/** @returns {"ltr" | "rtl"} */
export const direction = () => (RIGHT_TO_LEFT.has(code) ? "rtl" : "ltr");

/** Returns what was chosen: a code, or `auto` for the browser's language. */
export function chosenLanguage() {
  const kept = storage("localStorage")?.getItem(CHOICE_KEY) ?? "auto";
  return languages.some((one) => one.code === kept) ? kept : "auto";
}

/**
 * Shows a language from now on, and keeps the choice. What was drawn before isn't drawn again by this. If the messages can't be
 * loaded, the language stays what it was.
 * @param {string} choice a code of {@link languages}, or `auto`
 * @returns {Promise<void>}
 */
export async function setLanguage(choice) {
  const next = languages.some((one) => one.code === choice) ? choice : preferred(globalThis.navigator?.languages ?? []);
  messages = await load(next);
  code = next;
  formats = makeFormats(code);
  if (next === choice) storage("localStorage")?.setItem(CHOICE_KEY, choice);
  else storage("localStorage")?.removeItem(CHOICE_KEY);
  if (!globalThis.document) return;
  document.documentElement.lang = code;
  document.documentElement.dir = direction();
}

/** @param {string} next @returns {Promise<Messages>} */
async function load(next) {
  if (next === "de") return (await import("./messages/de.js")).default;
  if (next === "ar") return (await import("./messages/ar.js")).default;
  return en;
}

/** Returns the first language of a list that there is. @param {readonly string[]} wanted as the browser has them, such as `de-AT` */
export function preferred(wanted) {
  for (const tag of wanted) {
    const found = languages.find((one) => one.code === tag.toLowerCase().split("-")[0]);
    if (found) return found.code;
  }
  return "en";
}

/**
 * Returns the text of a key. `{name}` is replaced by what `params` has under it: a number as the language writes it, a text isolated,
 * so that its direction stays its own. A key without a text is returned itself.
 * @param {string} key @param {Params} [params]
 */
export function t(key, params) {
  const text = messages[key] ?? en[key] ?? key;
  return params ? fill(text, params) : text;
}

/**
 * Returns the text for a count: of `key.one`, `key.other` or whichever form the language has for it, with `{count}`.
 * @param {string} key @param {number} count @param {Params} [params]
 */
export function plural(key, count, params) {
  const form = `${key}.${formats.plural.select(count)}`;
  const own = messages[form] ?? messages[`${key}.other`];
  return fill(own ?? en[`${key}.${count === 1 ? "one" : "other"}`] ?? key, { ...params, count });
}

/** @param {string} text @param {Params} params */
function fill(text, params) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = params[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? formats.number.format(value) : ISOLATE + value + END_ISOLATE;
  });
}

/** @param {number} value */
export const formatNumber = (value) => formats.number.format(value);

/** Hours and minutes. @param {number} at_ms */
export const formatTime = (at_ms) => formats.time.format(at_ms);

/** Day and time, in full. @param {number} at_ms */
export const formatFull = (at_ms) => formats.full.format(at_ms);

/** Today, yesterday, or the date. @param {number} at_ms @param {number} [now_ms] */
export function formatDay(at_ms, now_ms = Date.now()) {
  const days = daysBetween(at_ms, now_ms);
  if (days === 0 || days === 1) return capital(formats.relative.format(-days, "day"));
  return (days < YEAR_DAYS ? formats.day : formats.year).format(at_ms);
}

/** The time of what was today, else the date. @param {number} at_ms @param {number} [now_ms] */
export function formatBrief(at_ms, now_ms = Date.now()) {
  const days = daysBetween(at_ms, now_ms);
  if (days === 0) return formatTime(at_ms);
  return (days < YEAR_DAYS ? formats.short : formats.shortYear).format(at_ms);
}

/** How long ago, roughly. @param {number} at_ms @param {number} [now_ms] */
export function formatAgo(at_ms, now_ms = Date.now()) {
  const minutes = Math.max(0, Math.round((now_ms - at_ms) / 60_000));
  if (minutes < 60) return formats.relative.format(-minutes, "minute");
  if (minutes < 24 * 60) return formats.relative.format(-Math.round(minutes / 60), "hour");
  return formats.relative.format(-Math.round(minutes / (24 * 60)), "day");
}

/** Days at local midnights. @param {number} at_ms @param {number} now_ms */
function daysBetween(at_ms, now_ms) {
  const midnight = (/** @type {number} */ ms) => new Date(ms).setHours(0, 0, 0, 0);
  return Math.round((midnight(now_ms) - midnight(at_ms)) / DAY_MS);
}

/** @param {string} text */
const capital = (text) => text.charAt(0).toLocaleUpperCase(code) + text.slice(1);

/**
 * Makes the formats of a language; of its regions the browser's own, so that Britons don't get American dates.
 * @param {string} next
 */
function makeFormats(next) {
  const locale = (globalThis.navigator?.languages ?? []).find((tag) => tag.toLowerCase().split("-")[0] === next) ?? next;
  const date = (/** @type {Intl.DateTimeFormatOptions} */ options) => new Intl.DateTimeFormat(locale, options);
  return {
    number: new Intl.NumberFormat(locale),
    plural: new Intl.PluralRules(locale),
    relative: new Intl.RelativeTimeFormat(locale, { numeric: "auto" }),
    time: date({ hour: "2-digit", minute: "2-digit" }),
    full: date({ dateStyle: "full", timeStyle: "medium" }),
    day: date({ weekday: "long", day: "numeric", month: "long" }),
    year: date({ day: "numeric", month: "long", year: "numeric" }),
    short: date({ day: "numeric", month: "short" }),
    shortYear: date({ day: "numeric", month: "short", year: "numeric" }),
  };
}

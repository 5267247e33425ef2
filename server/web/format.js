// @ts-check
// Times and counts for people, in the browser's language.

const timeOf = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dayOf = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const yearOf = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const shortOf = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

/** @param {number} at_ms */
export const time = (at_ms) => timeOf.format(at_ms);

/** @param {number} at_ms */
export const full = (at_ms) => new Date(at_ms).toLocaleString();

/** Returns a key that two times of one local day share. @param {number} at_ms */
export const dayKey = (at_ms) => new Date(at_ms).toDateString();

/** @param {number} at_ms @param {number} now_ms */
export function day(at_ms, now_ms) {
  const days = daysBetween(at_ms, now_ms);
  if (days === 0 || days === 1) return capital(relative.format(-days, "day"));
  return (days < 180 ? dayOf : yearOf).format(at_ms);
}

/** Time of today, else the day. @param {number} at_ms @param {number} now_ms */
export const brief = (at_ms, now_ms) => (daysBetween(at_ms, now_ms) === 0 ? time(at_ms) : shortOf.format(at_ms));

/** @param {number} at_ms @param {number} now_ms */
export function ago(at_ms, now_ms) {
  const minutes = Math.max(0, Math.round((now_ms - at_ms) / 60_000));
  if (minutes < 60) return relative.format(-minutes, "minute");
  if (minutes < 24 * 60) return relative.format(-Math.round(minutes / 60), "hour");
  return relative.format(-Math.round(minutes / (24 * 60)), "day");
}

/** @param {number} count @param {string} one @param {string} many */
export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString()} ${count === 1 ? one : many}`;

/** Characters as the server counts them. @param {string} text */
export function characters(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** @param {number} at_ms @param {number} now_ms */
function daysBetween(at_ms, now_ms) {
  const midnight = (/** @type {number} */ ms) => new Date(ms).setHours(0, 0, 0, 0);
  return Math.round((midnight(now_ms) - midnight(at_ms)) / 86_400_000);
}

/** @param {string} text */
const capital = (text) => text.charAt(0).toLocaleUpperCase() + text.slice(1);

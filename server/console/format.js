// @ts-check
// Numbers as people read them, and text as they type it. Pure.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });
const NONE = "–";

/** @param {unknown} value @returns {value is number} */
const known = (value) => typeof value === "number" && Number.isFinite(value);

/** @param {unknown} value */
export const count = (value) => (known(value) ? (Math.abs(value) < 100_000 ? whole.format(value) : short.format(value)) : NONE);

/** @param {unknown} value */
export const rate = (value) => (known(value) ? (value > 0 && value < 10 ? value.toFixed(1) : count(value)) : NONE);

/** @param {unknown} value bytes */
export function bytes(value) {
  if (!known(value)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [left, at] = [value, 0];
  while (left >= 1024 && at < units.length - 1) [left, at] = [left / 1024, at + 1];
  return `${left < 10 && at > 0 ? left.toFixed(1) : whole.format(left)} ${units[at]}`;
}

/** @param {unknown} value milliseconds */
export function time(value) {
  if (!known(value)) return NONE;
  if (value < 1) return `${whole.format(value * 1000)} µs`;
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${whole.format(value)} ms`;
  return span(value / 1000);
}

/** @param {unknown} value seconds */
export function span(value) {
  if (!known(value)) return NONE;
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${whole.format(value)} s`;
  if (value < 7200) return `${whole.format(value / 60)} min`;
  if (value < 172_800) return `${whole.format(value / 3600)} h`;
  return `${whole.format(value / 86_400)} days`;
}

/** @param {unknown} value per cent */
export const percent = (value) => (known(value) ? `${value < 10 ? value.toFixed(1) : whole.format(value)} %` : NONE);

/** @param {unknown} at Unix ms */
export const clock = (at) => (known(at) ? new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }) : NONE);

/** @param {number} number @param {string} thing */
export const counted = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;

/**
 * Estimates a percentile from counts per bucket, as if evenly spread within one.
 * @param {number[]} bounds upper bounds, the last bucket has none @param {number[]} counts @param {number} share
 */
export function percentile(bounds, counts, share) {
  const wanted = counts.reduce((sum, count) => sum + count, 0) * share;
  let seen = 0;
  for (let at = 0; at < counts.length && wanted > 0; at += 1) {
    const lower = at === 0 ? 0 : bounds[at - 1];
    if (at >= bounds.length) return lower;
    if (counts[at] > 0 && seen + counts[at] >= wanted) return lower + ((bounds[at] - lower) * (wanted - seen)) / counts[at];
    seen += counts[at];
  }
  return undefined;
}

/** @param {string} text */
const typed = (text) => text.replace(/\s+/gu, " ").trim();

/** Whether two texts are the same to who types one of them: blanks of whatever kind and number look alike. @param {string} a @param {string} b */
export const sameText = (a, b) => typed(a) === typed(b);

/**
 * Takes an address of the console apart: the view, and the one thing that it shows, if any.
 * @param {string} hash with "#" @param {object} views by name
 */
export function routeOf(hash, views) {
  const [name, ...rest] = hash.slice(1).split("/");
  const view = Object.hasOwn(views, name) ? name : "overview";
  try {
    return { view, rest: decodeURIComponent(rest.join("/")) };
  } catch {
    return { view, rest: rest.join("/") };
  }
}

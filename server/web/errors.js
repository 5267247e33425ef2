// @ts-check
// What went wrong, in the user's language where the reason is one of ours; what only the server knows is said in its words.

import { t } from "./i18n.js";

/** @typedef {Error & {code?: string, field?: string, limit?: number}} Refusal */

/** @param {unknown} error @returns {string} */
export function explain(error) {
  if (!(error instanceof Error)) return String(error);
  const { code, field, limit } = /** @type {Refusal} */ (error);
  // What has a limit and isn't too large is too short.
  const what = code === "bad_request" && limit !== undefined ? "short" : code;
  for (const key of [`error.${what}.${field}`, `error.${what}`]) {
    const text = t(key, limit === undefined ? undefined : { limit });
    if (text !== key) return text;
  }
  return error.message;
}

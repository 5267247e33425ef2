// @ts-check
// Asking the server. The token, if one is needed, lives as long as the tab.

const KEY = "chinwag.ops-token";
const PATIENCE_MS = 10_000;

/** The server wants a token, or another one. */
export class TokenNeeded extends Error {}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  /** @param {string} value */
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** @param {string} path @param {RequestInit} options @returns {Promise<any>} */
async function ask(path, options) {
  const headers = new Headers(options.headers);
  const bearer = token.get();
  if (bearer !== null) headers.set("authorization", `Bearer ${bearer}`);
  const response = await fetch(path, { ...options, headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (response.status === 401) throw new TokenNeeded();
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(typeof body.error === "string" ? body.error : `the server answered ${response.status}`);
  return body;
}

/** @param {string} path */
export const get = (path) => ask(`/admin/${path}`, {});

/** @param {string} path @param {Record<string, string>} fields @returns {Promise<string>} what was done */
export async function act(path, fields) {
  const headers = { "content-type": "application/json", "x-chinwag-operator": "console" };
  const answer = await ask(`/admin/${path}`, { method: "POST", headers, body: JSON.stringify(fields) });
  return answer.done;
}

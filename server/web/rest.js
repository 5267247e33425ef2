// @ts-check
// Accounts over HTTP, and the session that this browser remembers. Access tokens are sent in the hello frame, never in a URL.

import { t } from "./i18n.js";
import { storage } from "./shelf.js";

/** Where the session of an account is kept, for all tabs. */
export const KEY = "chinwag.session";
const GUEST_KEY = "chinwag.guest";
/** A token that runs out this soon is changed before it is used. */
const EARLY_MS = 60_000;
/** An answer that takes longer doesn't come; other tabs wait for it as well. */
const TIMEOUT_MS = 15_000;

/** @typedef {{username: string, user_id?: string, token: string, refresh_token: string, expires_at_ms: number}} Saved */

/** A refused request. */
export class RestError extends Error {
  /** @param {number} status @param {string} text @param {string} code @param {{field?: string, limit?: number}} [what] is wrong */
  constructor(status, text, code, { field, limit } = {}) {
    super(text);
    this.status = status;
    this.code = code;
    this.field = field;
    this.limit = limit;
  }
}

/** @param {string} path @param {Record<string, unknown>} body @param {string} [token] @returns {Promise<any>} */
async function post(path, body, token) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw unreachable();
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw refused(response.status, answer ?? {});
  // Its end didn't come.
  if (answer === null) throw unreachable();
  return answer;
}

const unreachable = () => new RestError(0, t("error.unreachable"), "unreachable");

/** @param {number} status @param {any} answer */
function refused(status, answer) {
  return new RestError(status, answer.error ?? t("error.status", { status }), answer.code ?? "", answer);
}

/** @param {string} key @param {"localStorage" | "sessionStorage"} where @returns {any} */
function load(key, where) {
  try {
    return JSON.parse(storage(where)?.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/** @param {string} key @param {"localStorage" | "sessionStorage"} where @param {object} value */
function save(key, where, value) {
  try {
    storage(where)?.setItem(key, JSON.stringify(value));
  } catch {
    // Full or forbidden: the session lasts until a reload, which is all that can be had.
  }
}

/** Someone with an account. Tabs share it: refresh tokens are for one use, so they take turns. */
export class Account {
  /** @type {Saved} */
  #saved;
  guest = false;

  /** @param {Saved} saved */
  constructor(saved) {
    this.#saved = saved;
  }

  /** @returns {Account | null} who was logged in here */
  static remembered() {
    const saved = load(KEY, "localStorage");
    return saved?.refresh_token ? new Account(saved) : null;
  }

  /** @param {string} username @param {string} password */
  static async login(username, password) {
    return new Account(keep(await post("/api/auth/login", { username, password })));
  }

  /** @param {string} username @param {string} password */
  static async register(username, password) {
    await post("/api/auth/register", { username, password });
    return Account.login(username, password);
  }

  get name() {
    return this.#saved.username;
  }

  /** Returns what hello needs. @returns {Promise<{token: string}>} */
  async credentials() {
    if (this.#saved.expires_at_ms - EARLY_MS < Date.now()) await this.refresh();
    return { token: this.#saved.token };
  }

  /** Gets a new token; rejects with a {@link RestError}, of status 401 when the session is over. */
  async refresh() {
    const refresh = async () => {
      const kept = load(KEY, "localStorage");
      if (kept?.username === this.#saved.username && kept.token !== this.#saved.token) {
        // Another tab has done it.
        this.#saved = kept;
        return;
      }
      this.#saved = keep(await post("/api/auth/refresh", { refresh_token: this.#saved.refresh_token }), this.#saved);
    };
    // Locks exist in secure contexts only; without them two tabs at the same instant may end the session, no worse.
    await (navigator.locks ? navigator.locks.request("chinwag.refresh", refresh) : refresh());
  }

  /** Ends the session here and on the server, if that can be reached. */
  async logout() {
    this.forget();
    await post("/api/auth/logout", {}, this.#saved.token).catch(() => {});
  }

  /** Ends the session here. */
  forget() {
    if (load(KEY, "localStorage")?.username === this.#saved.username) storage("localStorage")?.removeItem(KEY);
  }
}

/** Someone without an account, as long as the tab lives. */
export class Guest {
  guest = true;

  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }

  /** @returns {Guest | null} */
  static remembered() {
    const saved = load(GUEST_KEY, "sessionStorage");
    return saved?.name ? new Guest(saved.name) : null;
  }

  /** Called when the server has let the guest in. */
  remember() {
    save(GUEST_KEY, "sessionStorage", { name: this.name });
  }

  async credentials() {
    return { guest: this.name };
  }

  async refresh() {
    throw new RestError(401, t("error.noGuests"), "unauthorized");
  }

  async logout() {
    this.forget();
  }

  forget() {
    storage("sessionStorage")?.removeItem(GUEST_KEY);
  }
}

/** @param {any} answer @param {Partial<Saved>} [before] @returns {Saved} */
function keep(answer, before = {}) {
  /** @type {Saved} */
  const saved = {
    username: answer.username ?? before.username,
    token: answer.token,
    refresh_token: answer.refresh_token,
    expires_at_ms: Date.now() + (answer.expires_in ?? 3600) * 1000,
  };
  save(KEY, "localStorage", saved);
  return saved;
}

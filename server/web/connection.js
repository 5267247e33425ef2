// @ts-check
// The connection with the server, through all its sockets: log-in, hello, requests, reconnecting. Of what the server says it
// keeps only the session (who the user is, limits, time); conversations are the handlers' business.

import { explain } from "./errors.js";
import { t } from "./i18n.js";
import { requestId } from "./ids.js";
import { Link, RequestError, disconnected } from "./link.js";
import { afterClose, backoff } from "./reconnect.js";

/** Tells the operators which client this is. */
const CLIENT = "chinwag-web/0.1";
/** A socket that lived this long was a good one. */
const SETTLED_MS = 5000;
const DRAIN_RETRY_MS = 1500;
/** What a refused hello means, as the close code that belongs to it. @type {Record<string, number>} */
const HELLO_REFUSED = { unauthorized: 4200, unsupported_version: 4203, draining: 1001 };
const TRIES = 4;

/**
 * @typedef {{id: string, name: string, display_name?: string, guest: boolean}} Me
 * @typedef {{name: string, guest: boolean, credentials(): Promise<Record<string, string>>, refresh(): Promise<void>}} Login
 * @typedef {"connecting" | "online" | "waiting" | "ended"} State
 * @typedef {Record<string, {epoch: string, seq: number}>} Positions by conversation
 * @typedef {{positions: () => Positions, onWelcome: (link: Link, welcome: any, unsaid: Positions[]) => Promise<void>,
 *   onEvent: (event: any) => void}} Handlers `unsaid`: positions that the hello had no room for, as many at a time as one
 *   request may name; `onWelcome` calls `ready` when the welcome is taken
 */

/** @param {number} ms */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One user's session, from one socket to the next. */
export class Connection {
  /** @type {State} */
  state = "connecting";
  /** @type {Me | null} */
  me = null;
  limits = { content_chars: 4096, page: 200, positions: 500 };
  retry_at_ms = 0;

  #url;
  #login;
  #notify;
  #handlers;
  /** The link in use, welcomed. @type {Link | null} */
  #link = null;
  /** A link that isn't welcomed yet. @type {Link | null} */
  #next = null;
  #failures = 0;
  #refreshed = false;
  #timer = 0;
  #settled = 0;
  #skew_ms = 0;
  /** @type {Set<() => void>} */
  #awaiting = new Set();

  /**
   * @param {string} url of the socket
   * @param {Login} login
   * @param {import("./protocol.js").Notify} notify
   * @param {Handlers} handlers
   */
  constructor(url, login, notify, handlers) {
    this.#url = url;
    this.#login = login;
    this.#notify = notify;
    this.#handlers = handlers;
  }

  get guest() {
    return this.#login.guest;
  }

  /** The link in use, when there is one. */
  get link() {
    return this.#link;
  }

  /** The server's time, nearly. */
  now() {
    return Date.now() + this.#skew_ms;
  }

  /** Connects, and stays connected until {@link stop}. */
  start() {
    void this.#connect();
  }

  /** Disconnects for good. */
  stop() {
    this.#end();
  }

  /** Tries now instead of after the wait. */
  hurry() {
    this.#link?.check();
    if (this.state !== "waiting") return;
    clearTimeout(this.#timer);
    void this.#connect();
  }

  /** Opens another link after a while; the one in use serves until that one is welcomed. @param {number} wait_ms */
  changeOver(wait_ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#connect(), wait_ms);
  }

  // --- requests -------------------------------------------------------------------------------------------------------------

  /** @param {string} type @param {Record<string, unknown>} fields @param {string} [id] @returns {Promise<any>} */
  ask(type, fields, id) {
    return this.#link ? this.#link.request(type, fields, id) : Promise.reject(disconnected());
  }

  /**
   * Asks for something that changes the server, and asks again (the same, under the same id) when the answer is lost.
   * @param {string} type @param {Record<string, unknown>} fields @returns {Promise<any>}
   */
  async command(type, fields) {
    const id = requestId();
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.ask(type, fields, id);
      } catch (error) {
        if (!(error instanceof RequestError) || !error.retryable || tries === TRIES || this.state === "ended") throw error;
        if (error.code === "disconnected") await this.#online();
        else await sleep(error.retry_after_ms ?? backoff(tries - 1));
      }
    }
  }

  /** Waits for the next welcome, a while. @returns {Promise<void>} */
  #online() {
    if (this.state === "online") return Promise.resolve();
    return new Promise((resolve, reject) => {
      const welcomed = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#awaiting.delete(welcomed);
        reject(disconnected());
      }, 10_000);
      this.#awaiting.add(welcomed);
    });
  }

  // --- hello ----------------------------------------------------------------------------------------------------------------

  async #connect() {
    if (this.#next || this.state === "ended") return;
    if (!this.#link) this.#become("connecting");
    let credentials;
    try {
      credentials = await this.#login.credentials();
    } catch (error) {
      this.#refreshFailed(error);
      return;
    }
    if (this.#next || this.#over()) return;
    /** @type {Link} */
    const link = new Link(this.#url, {
      onOpen: () => void this.#hello(link, credentials),
      onEvent: this.#handlers.onEvent,
      onClose: (code) => this.#closed(link, code),
    });
    this.#next = link;
  }

  /** @param {Link} link @param {Record<string, string>} credentials */
  async #hello(link, credentials) {
    const positions = Object.entries(this.#handlers.positions());
    const first = Object.fromEntries(positions.slice(0, this.limits.positions));
    const later = positions.slice(this.limits.positions);
    let welcome;
    try {
      welcome = await link.request("hello", { protocol: 1, client: CLIENT, positions: first, ...credentials });
    } catch (error) {
      if (!(error instanceof RequestError) || error.code === "disconnected") return;
      // The close that follows says the same, if it comes.
      link.close();
      if (this.guest && !error.retryable) this.#end(explain(error));
      else this.#closed(link, HELLO_REFUSED[error.code] ?? 1011);
      return;
    }
    if (this.#next !== link) return;
    const old = this.#link;
    this.#next = null;
    this.#link = link;
    old?.close();
    this.#begin(welcome);
    /** @type {Positions[]} */
    const unsaid = [];
    for (let at = 0; at < later.length; at += this.limits.positions) {
      unsaid.push(Object.fromEntries(later.slice(at, at + this.limits.positions)));
    }
    await this.#handlers.onWelcome(link, welcome, unsaid);
  }

  /** @param {any} welcome */
  #begin(welcome) {
    this.#refreshed = false;
    clearTimeout(this.#settled);
    this.#settled = setTimeout(() => {
      this.#failures = 0;
    }, SETTLED_MS);
    this.#skew_ms = welcome.server_time - Date.now();
    this.me = welcome.user;
    this.limits = { ...this.limits, ...welcome.limits };
  }

  /** What the welcome said is known: whoever waits may go on. */
  ready() {
    this.#become("online");
    for (const wake of this.#awaiting) wake();
    this.#awaiting.clear();
  }

  // --- the end of a link ----------------------------------------------------------------------------------------------------

  /** @param {Link} link @param {number} code */
  #closed(link, code) {
    if (link !== this.#link && link !== this.#next) return;
    const current = link === this.#link;
    if (current) this.#link = null;
    else this.#next = null;
    // While a node drains there are two; one is enough, until it closes as well.
    if (this.#over()) return;
    if (this.#next) {
      this.#become("connecting");
      return;
    }
    if (!current && this.#link && code < 4200) {
      // The old link still serves; while there is no other node, asking now and then is enough.
      this.#reconnect(DRAIN_RETRY_MS + backoff(0));
      return;
    }
    const then = afterClose(code, this.#failures);
    switch (then.do) {
      case "reconnect":
        this.#failures += 1;
        this.#reconnect(then.wait_ms);
        break;
      case "refresh":
        void this.#refresh();
        break;
      case "login":
        this.#end(t("error.loggedOut"));
        break;
      case "outdated":
        this.#end(t("error.outdated"));
        break;
      default:
        this.#end(t("error.ended"));
    }
  }

  /** @param {number} wait_ms */
  #reconnect(wait_ms) {
    clearTimeout(this.#timer);
    clearTimeout(this.#settled);
    this.retry_at_ms = Date.now() + wait_ms;
    this.#timer = setTimeout(() => void this.#connect(), wait_ms);
    if (!this.#link) this.#become("waiting");
  }

  async #refresh() {
    if (this.#refreshed) {
      this.#end(t("error.loginAgain"));
      return;
    }
    this.#refreshed = true;
    try {
      await this.#login.refresh();
      this.#reconnect(0);
    } catch (error) {
      this.#refreshFailed(error);
    }
  }

  /** @param {any} error */
  #refreshFailed(error) {
    if (error?.status === 401 || error?.status === 403) {
      this.#end(t("error.loginAgain"));
      return;
    }
    this.#refreshed = false;
    this.#failures += 1;
    this.#reconnect(backoff(this.#failures));
  }

  /** @param {State} state */
  #become(state) {
    this.state = state;
    this.#notify({ type: "state" });
  }

  #over() {
    return this.state === "ended";
  }

  /** @param {string} [text] why, when it isn't the user's doing */
  #end(text) {
    if (this.#over()) return;
    this.#become("ended");
    clearTimeout(this.#timer);
    this.#link?.close();
    this.#next?.close();
    this.#link = this.#next = null;
    if (text !== undefined) this.#notify({ type: "ended", text });
  }
}

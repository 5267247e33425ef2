// @ts-check
// One socket: frames as JSON, replies matched with their requests, liveness. Knows nothing of conversations and doesn't
// reconnect: a link that is lost stays lost.

import { requestId } from "./ids.js";

const OPEN_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 20_000;
const QUIET_MS = 25_000;
const PONG_TIMEOUT_MS = 10_000;
const CHECK_TIMEOUT_MS = 5000;
const CLOSED_QUIET = 4002;

/** A refused or unanswered request. */
export class RequestError extends Error {
  /** @param {{code: string, message: string, retryable: boolean, retry_after_ms?: number, field?: string, limit?: number}} error */
  constructor(error) {
    super(error.message);
    this.code = error.code;
    this.retryable = error.retryable;
    this.retry_after_ms = error.retry_after_ms;
  }
}

/** The socket went before the answer came. */
export const disconnected = () =>
  new RequestError({ code: "disconnected", message: "The connection was lost", retryable: true });

/** A socket from its opening to its close. */
export class Link {
  /** @type {Map<string, {resolve: (result: any) => void, reject: (error: RequestError) => void, timer: number}>} */
  #requests = new Map();
  #socket;
  #handlers;
  #closed = false;
  #timer = 0;

  /**
   * @param {string} url
   * @param {{onOpen: () => void, onEvent: (event: any) => void, onClose: (code: number) => void}} handlers
   */
  constructor(url, handlers) {
    this.#handlers = handlers;
    this.#socket = new WebSocket(url, "chinwag.v1");
    this.#timer = setTimeout(() => this.#lost(1006), OPEN_TIMEOUT_MS);
    this.#socket.onopen = () => {
      this.#heard();
      handlers.onOpen();
    };
    this.#socket.onmessage = (message) => this.#receive(message.data);
    this.#socket.onclose = (close) => this.#lost(close.code);
  }

  /**
   * Asks the server. `id` is given when the same request is said again.
   * @param {string} type @param {Record<string, unknown>} fields @param {string} id
   * @returns {Promise<any>} the result; rejects with a {@link RequestError}
   */
  request(type, fields = {}, id = requestId()) {
    if (this.#closed || this.#socket.readyState !== WebSocket.OPEN) return Promise.reject(disconnected());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#requests.delete(id);
        reject(new RequestError({ code: "timeout", message: "The server didn't answer", retryable: true }));
      }, REQUEST_TIMEOUT_MS);
      this.#requests.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ id, type, ...fields }));
    });
  }

  /** Finds out soon whether the link still lives. */
  check() {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(CLOSED_QUIET), CHECK_TIMEOUT_MS);
    this.request("ping").catch(() => {});
  }

  /** Closes without telling the handlers. */
  close() {
    if (this.#closed) return;
    this.#end();
    this.#socket.close(1000);
  }

  /** @param {unknown} data */
  #receive(data) {
    if (this.#closed) return;
    this.#heard();
    let frame;
    try {
      frame = JSON.parse(String(data));
    } catch {
      return;
    }
    if (frame.event !== undefined) {
      this.#handlers.onEvent(frame);
      return;
    }
    const request = this.#requests.get(frame.id);
    if (!request) return;
    this.#requests.delete(frame.id);
    clearTimeout(request.timer);
    if (frame.error) request.reject(new RequestError(frame.error));
    else request.resolve(frame.result);
  }

  /** Something came: asks again only after a while of silence. */
  #heard() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = setTimeout(() => this.#lost(CLOSED_QUIET), PONG_TIMEOUT_MS);
      this.request("ping").catch(() => {});
    }, QUIET_MS);
  }

  #end() {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const request of this.#requests.values()) {
      clearTimeout(request.timer);
      request.reject(disconnected());
    }
    this.#requests.clear();
  }

  /** @param {number} code */
  #lost(code) {
    if (this.#closed) return;
    this.#end();
    this.#socket.close();
    this.#handlers.onClose(code);
  }
}

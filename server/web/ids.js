// @ts-check
// Identifiers that the client makes: message ids (UUIDv7, RFC 9562) and request ids. Knows nothing else.

/** A clock that steps back further than this was wrong: ids ahead of the server's time are refused. */
const BACK_MAX_MS = 60_000;

/** Makes UUIDv7 in ascending order, also within one millisecond and when the clock steps back a little. */
export class MessageIds {
  #now;
  #random;
  #last_ms = 0;
  #count = 0;

  /**
   * @param {() => number} now Unix milliseconds, the server's if known
   * @param {(bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>} random
   */
  constructor(now, random = (bytes) => crypto.getRandomValues(bytes)) {
    this.#now = now;
    this.#random = random;
  }

  /** @returns {string} lower case with hyphens */
  next() {
    const bytes = this.#random(new Uint8Array(16));
    const now_ms = Math.floor(this.#now());
    if (now_ms > this.#last_ms || now_ms < this.#last_ms - BACK_MAX_MS) {
      this.#last_ms = now_ms;
      // Half of the range is left for counting up.
      this.#count = ((bytes[6] & 7) << 8) | bytes[7];
    } else if (++this.#count > 0xfff) {
      this.#last_ms += 1;
      this.#count = 0;
    }
    const at = this.#last_ms;
    const high = Math.floor(at / 2 ** 32);
    bytes.set([high >> 8, high, at >>> 24, at >>> 16, at >>> 8, at].map((byte) => byte & 0xff));
    bytes[6] = 0x70 | (this.#count >> 8);
    bytes[7] = this.#count & 0xff;
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  }
}

const prefix = Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(16).padStart(2, "0")).join("");
let count = 0;

/** Returns a request id that no other page of this user makes. */
export function requestId() {
  count += 1;
  return `${prefix}-${count}`;
}

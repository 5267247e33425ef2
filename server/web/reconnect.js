// @ts-check
// What a closed socket means: native.md, section 8. Pure.

const BACKOFF_FIRST_MS = 1000;
const BACKOFF_MAX_MS = 30_000;
const LATER_MIN_MS = 5000;
const LATER_MAX_MS = 30_000;
const AT_ONCE_MAX_MS = 250;

/**
 * @typedef {{do: "reconnect", wait_ms: number}} Reconnect
 * @typedef {{do: "refresh" | "login" | "outdated" | "stop"}} Other
 */

/**
 * Returns what to do after a close.
 * @param {number} code close code; 1006 when there was none
 * @param {number} failures closes in a row that came before a socket had lived for a while
 * @param {() => number} random in [0, 1)
 * @returns {Reconnect | Other}
 */
export function afterClose(code, failures, random = Math.random) {
  if (code === 4200 || code === 4201) return { do: "refresh" };
  if (code === 4202) return { do: "login" };
  if (code === 4203) return { do: "outdated" };
  if (code >= 4200 && code < 4300) return { do: "stop" };
  if (code >= 4100 && code < 4200) {
    return { do: "reconnect", wait_ms: LATER_MIN_MS + random() * (LATER_MAX_MS - LATER_MIN_MS) };
  }
  const atOnce = code === 1000 || code === 1001 || (code >= 4000 && code < 4100);
  // "At once" a second time in a row isn't: whatever closes us would be asked without pause.
  if (atOnce && failures === 0) return { do: "reconnect", wait_ms: random() * AT_ONCE_MAX_MS };
  return { do: "reconnect", wait_ms: backoff(failures, random) };
}

/**
 * Returns the time to wait before the next try: 1 s doubling to 30 s, of which half is chance, so that a crowd that lost the
 * same node doesn't come back as one.
 * @param {number} failures @param {() => number} random
 */
export function backoff(failures, random = Math.random) {
  const whole = Math.min(BACKOFF_FIRST_MS * 2 ** Math.min(failures, 10), BACKOFF_MAX_MS);
  return whole / 2 + (random() * whole) / 2;
}

// @ts-check
// What the page says about itself: whether it is connected, what happened a moment ago, and new messages for who listens to it.

import { el, setText } from "./dom.js";
import { plural, t } from "./i18n.js";

const TOAST_MS = 6000;
/** A next try so near is called reconnecting. */
const SOON_MS = 1500;

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
let toastTimer = 0;

/** @param {import("./protocol.js").Client | null} client @param {boolean} arrived whether it was ever connected */
export function showStatus(client, arrived) {
  const status = byId("status");
  const state = client ? client.state : "none";
  document.body.dataset.connection = state;
  status.hidden = !arrived || state === "online" || !client;
  if (status.hidden || !client) return;
  const waiting = client.outbox?.waiting ?? 0;
  const offline = !navigator.onLine || (state === "waiting" && client.retry_at_ms - Date.now() > SOON_MS);
  const words = [t(offline ? "status.offline" : "status.reconnecting"), waiting > 0 ? plural("status.waiting", waiting) : ""];
  setText(/** @type {Element} */ (status.firstElementChild), words.filter(Boolean).join(" · "));
  setText(/** @type {Element} */ (status.lastElementChild), t("status.tryNow"));
}

/** Says something for a moment. @param {string} text */
export function toast(text) {
  const node = byId("toast");
  clearTimeout(toastTimer);
  node.hidden = false;
  setText(node, text);
  toastTimer = setTimeout(() => {
    node.hidden = true;
    node.textContent = "";
  }, TOAST_MS);
}

/** Says a message to who listens to the page. @param {string} text */
export function announce(text) {
  byId("announce").replaceChildren(el("span", { text, dir: "auto" }));
}

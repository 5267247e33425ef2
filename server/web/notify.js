// @ts-check
// Tells of messages when the page isn't looked at: by the browser's notifications, if the user wants them. The number of unread
// messages is in the page's title in any case.

import { t } from "./i18n.js";
import { plain } from "./markup.js";
import { settings } from "./settings.js";

const TEXT_MAX = 160;

/** Whether this browser can notify from this page at all. */
export const canNotify = () => "Notification" in globalThis && isSecureContext;

/** Asks the user for leave, if need be. @returns {Promise<boolean>} */
export async function mayNotify() {
  return canNotify() && (await Notification.requestPermission()) === "granted";
}

/**
 * @param {import("./conversation.js").Conversation} conversation @param {import("./log.js").Sequenced} event
 * @param {() => void} open
 */
export function notify(conversation, event, open) {
  if (document.hasFocus() || !canNotify() || Notification.permission !== "granted" || !settings().notifications) return;
  const name = event.sender.name;
  const title = conversation.kind === "direct" ? conversation.title : t("notify.message", { name, place: conversation.title });
  try {
    // Several tabs say the same under the same tag, which shows it once.
    const note = new Notification(title, { body: plain(event.content ?? "").slice(0, TEXT_MAX), tag: `${conversation.id}:${event.seq}`, icon: "/web/icon.svg" });
    note.onclick = () => {
      note.close();
      focus();
      open();
    };
  } catch {
    // Some phones allow them to service workers only.
  }
}

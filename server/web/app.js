// @ts-check
// The first screen: in which language and dress, and who comes in. The chat itself (`chat.js`) is loaded as soon as this is drawn.

import { explain } from "./errors.js";
import { chosenLanguage, setLanguage, t } from "./i18n.js";
import { el } from "./dom.js";
import { Account, Guest } from "./rest.js";
import { applyTheme, settings } from "./settings.js";
import { Entry } from "./view-entry.js";

const SKELETONS = 5;

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

applyTheme(settings().theme);
// Before anything is drawn, since nothing is drawn again; should the messages not come, it is English.
await setLanguage(chosenLanguage()).catch(() => {});
byId("side").setAttribute("aria-label", t("app.conversations"));
byId("thread").setAttribute("aria-label", t("app.thread"));
byId("skip").textContent = t("app.skip");

const entry = new Entry(byId("entry"), (who) => void enter(who));
const known = Account.remembered() ?? Guest.remembered();
if (known) {
  byId("app").hidden = false;
  byId("side").append(...Array.from({ length: SKELETONS }, () => el("div", { class: "skeleton" })));
} else {
  entry.show();
}

/** @type {Promise<typeof import("./chat.js")> | null} */
let loading = null;

/** Loads the chat; again, if that failed. */
function chat() {
  loading ??= import("./chat.js").then((loaded) => {
    loaded.begin({ entered: () => entry.hide(), left: (error) => entry.show(error) });
    return loaded;
  }, (error) => {
    loading = null;
    throw error;
  });
  return loading;
}

/** @param {Account | Guest} who */
async function enter(who) {
  try {
    (await chat()).enter(who);
  } catch (error) {
    byId("app").hidden = true;
    entry.show(error instanceof TypeError ? t("error.part") : explain(error));
  }
}

// When the first screen is drawn; a hidden page draws nothing.
if (!document.hidden) await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
const later = /** @type {HTMLTemplateElement} */ (byId("later"));
document.head.append(later.content);
if (known) void enter(known);
else void chat().catch(() => {});

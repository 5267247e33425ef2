// @ts-check
// The page: which view is shown, and asking the server while somebody looks.

import { TokenNeeded, get, token } from "./api.js";
import { el, setText, sync } from "./dom.js";
import { routeOf, span } from "./format.js";
import { ActionsView } from "./view-actions.js";
import { ActorsView } from "./view-actors.js";
import { ConversationsView } from "./view-conversations.js";
import { OverviewView } from "./view-overview.js";
import { SocketsView } from "./view-sockets.js";

/** Every look costs the server something: two seconds are quick enough for eyes. */
const EVERY_MS = 2000;

/**
 * @typedef {object} View
 * @property {HTMLElement} node
 * @property {(rest: string) => void} [open] shows one thing of the view; empty: all
 * @property {(overview: any) => Promise<void>} refresh asks for what it shows
 */

const main = /** @type {HTMLElement} */ (document.querySelector("main"));
const status = /** @type {HTMLElement} */ (document.querySelector("#status"));
const facts = /** @type {HTMLElement} */ (document.querySelector("#facts"));
const alerts = /** @type {HTMLElement} */ (document.querySelector("#alerts"));
const said = /** @type {HTMLElement} */ (document.querySelector("#said"));
const entry = /** @type {HTMLFormElement} */ (document.querySelector("#entry"));

/** @type {Record<string, View>} */
const views = {
  overview: new OverviewView(),
  conversations: new ConversationsView(),
  sockets: new SocketsView(),
  actors: new ActorsView(),
  actions: new ActionsView(),
};

let shown = "";

function route() {
  const { view: next, rest } = routeOf(location.hash, views);
  setText(said, "");
  views[next].open?.(rest);
  if (next !== shown) {
    shown = next;
    main.replaceChildren(views[shown].node);
    for (const link of document.querySelectorAll("nav a")) {
      if (link.getAttribute("href") === `#${shown}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
  scrollTo(0, 0);
  wake();
}

/** @param {any} overview */
function showHead(overview) {
  const { node, breakers } = overview;
  document.title = `${node.name} · Chinwag console`;
  setText(facts, `${node.name} · ${node.status} · version ${node.version} · up ${span(node.uptime_s)}${node.unlimited ? " · UNLIMITED" : ""}`);
  const said = [];
  if (node.status !== "serving") said.push({ key: "status", text: `The node is ${node.status}.`, href: "#overview" });
  for (const { store, state } of breakers) {
    if (state !== "CLOSED") said.push({ key: store, text: `The breaker of ${store} is ${state}.`, href: "#overview" });
  }
  sync(alerts, said, ({ key }) => key, ({ text, href }) => el("li", {}, el("a", { href, text })), (row, { text }) => setText(row.firstChild, text));
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
let asking = false;
let again = false;

async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  clearTimeout(timer);
  let wait = EVERY_MS;
  try {
    const overview = await get("overview");
    showHead(overview);
    await views[shown].refresh(overview);
    setText(status, "");
    entry.hidden = true;
    main.hidden = false;
  } catch (error) {
    if (error instanceof TokenNeeded) {
      askToken();
      return;
    }
    setText(status, error instanceof TypeError ? "The server can't be reached; trying again…" : String(/** @type {Error} */ (error).message));
    wait = 2 * EVERY_MS;
  } finally {
    asking = false;
  }
  if (again) {
    again = false;
    wait = 0;
  }
  if (document.visibilityState === "visible") timer = setTimeout(refresh, wait);
}

/** Looks now, also when the next look is some time off. */
export function wake() {
  void refresh();
}

function askToken() {
  const had = token.get() !== null;
  token.forget();
  main.hidden = true;
  const appeared = entry.hidden;
  entry.hidden = false;
  setText(status, had ? "This token isn't taken." : "");
  if (appeared || had) /** @type {HTMLInputElement} */ (entry.elements.namedItem("token")).focus();
}

entry.addEventListener("submit", (event) => {
  event.preventDefault();
  const input = /** @type {HTMLInputElement} */ (entry.elements.namedItem("token"));
  token.set(input.value.trim());
  input.value = "";
  wake();
});
addEventListener("hashchange", route);
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (document.visibilityState === "visible") wake();
});
document.addEventListener("acted", wake);
route();

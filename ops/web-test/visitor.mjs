// Browsers that visit a server, and what people do in them.

import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { chromium } from "playwright-core";
import { PATIENCE_MS, ROOT } from "./server.mjs";

const CHROMIUM = process.env.CHROMIUM_BIN ?? "/usr/bin/chromium";
/** Whether the files of server/web replace the embedded ones, so that a changed page can be tried without a build. */
const FROM_DISK = process.env.WEB_FROM_DISK === "1";
const WEB = join(ROOT, "server/web");
const SCREENSHOTS = process.env.SCREENSHOTS ?? join(ROOT, "target/screenshots");
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml" };

const EXPECTED = /net::ERR_(?:CONNECTION|INTERNET_DISCONNECTED|EMPTY_RESPONSE|NETWORK_CHANGED)|WebSocket connection|status of 4\d\d/;

/** Starts the browser that all visitors share. */
export function launch() {
  // A page that didn't come from the network counts as a stranger there, who may not talk to loopback.
  const args = FROM_DISK ? [...FLAGS, "--disable-features=LocalNetworkAccessChecks"] : FLAGS;
  return chromium.launch({ executablePath: CHROMIUM, args, chromiumSandbox: false });
}

/** One person's browser: storage of its own, one tab. */
export class Visitor {
  /** What went wrong on the page. */
  defects = [];

  static async come(browser, server, options = {}) {
    const visitor = new Visitor();
    visitor.server = server;
    visitor.context = await browser.newContext({ viewport: { width: 1180, height: 760 }, locale: "en-GB", ...options });
    if (FROM_DISK) await visitor.context.route((url) => url.pathname === "/" || url.pathname.startsWith("/web/"), fromDisk);
    await visitor.newPage();
    return visitor;
  }

  /** Opens a tab, which is theirs from now on. */
  async newPage() {
    this.page = await this.tab();
  }

  /** Opens a tab beside the one that they look at. */
  async tab() {
    const page = await this.context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", (error) => this.defects.push(String(error.stack)));
    page.on("console", (message) => {
      // That a server that was killed can't be reached is no defect of the page, and neither is a refusal it shows.
      if (message.type() === "error" && !EXPECTED.test(message.text())) this.defects.push(message.text());
    });
    return page;
  }

  async register(name, hash = "") {
    await this.page.goto(`${this.server.url}/${hash}`);
    await this.page.getByRole("button", { name: "Register" }).click();
    await this.page.getByLabel("Name").fill(name);
    await this.page.getByLabel("Password").fill("correct horse");
    await this.page.getByRole("button", { name: "Create account" }).click();
    await this.online();
  }

  async enterAsGuest(name, hash = "") {
    await this.page.goto(`${this.server.url}/${hash}`);
    await this.page.getByRole("button", { name: "Guest", exact: true }).click();
    await this.page.getByLabel("Name").fill(name);
    await this.page.getByRole("button", { name: "Enter as guest" }).click();
    await this.online();
  }

  async online() {
    await this.page.locator('body[data-connection="online"]').waitFor();
    await this.page.locator("#app").waitFor();
  }

  /** Clicks on reconnecting now, if there is still something to hurry. */
  async hurry() {
    await this.page.locator("#status button").click({ timeout: 1500 }).catch(() => {});
  }

  /** Fills one form of the dialog for new conversations. */
  async begin(label, text) {
    await this.page.getByRole("button", { name: "New conversation" }).click();
    const form = this.page.locator("dialog form").filter({ has: this.page.getByLabel(label, { exact: true }) });
    await form.locator("input").fill(text);
    await form.locator("button").click();
    await this.page.locator("dialog").waitFor({ state: "detached" });
  }

  async open(title) {
    await this.row(title).click();
    await this.page.getByRole("heading", { name: title, level: 2 }).waitFor();
  }

  row(title) {
    return this.page.locator("#side .row").filter({ has: this.page.locator(".title", { hasText: new RegExp(`^${title}$`) }) });
  }

  async say(text) {
    await this.page.getByLabel("Message", { exact: true }).fill(text);
    await this.page.keyboard.press("Enter");
  }

  /** Messages that say this, and nothing else if `exact`. */
  message(text, exact = true) {
    const messages = this.page.locator(".entries .message");
    if (!exact) return messages.filter({ hasText: text });
    const whole = new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`);
    return messages.filter({ has: this.page.locator(".text", { hasText: whole }) });
  }

  /**
   * Points at a message until its buttons are there, as a hand that doesn't lie still does: a message that isn't stored yet has none.
   * Returns the button of this name.
   */
  async tool(message, name) {
    const button = this.page.locator(".tools").getByRole("button", { name });
    for (let tries = 0; tries < 20 && !(await button.isVisible()); tries++) {
      await this.page.mouse.move(1, 1);
      await message.hover();
      await button.waitFor({ timeout: 500 }).catch(() => {});
    }
    return button;
  }

  async sees(text, exact = true) {
    await this.message(text, exact).first().waitFor();
  }

  async screenshot(name) {
    mkdirSync(SCREENSHOTS, { recursive: true });
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
  }
}

/** Answers with the file of the source tree, under the policy that the server would send with its own. */
async function fromDisk(route) {
  const url = new URL(route.request().url());
  const path = url.pathname === "/" ? "index.html" : url.pathname.slice("/web/".length);
  const file = join(WEB, path);
  if (!existsSync(file)) return route.fulfill({ status: 404 });
  const headers = await policyOf(url.origin);
  // A server that is down answers nothing, and neither may this.
  if (!headers) return route.abort("connectionrefused");
  await route.fulfill({ body: readFileSync(file), contentType: TYPES[extname(file)], headers });
}

async function policyOf(origin) {
  const { headers } = await fetch(origin).catch(() => ({}));
  if (!headers) return undefined;
  const kept = ["content-security-policy", "cross-origin-opener-policy", "permissions-policy", "cache-control"];
  return Object.fromEntries(kept.map((name) => [name, headers.get(name) ?? ""]));
}

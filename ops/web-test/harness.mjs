// A chinwag process of its own data directory, and browsers that visit it.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BIN = process.env.CHINWAG_BIN ?? join(ROOT, "target/debug/chinwag");
const CHROMIUM = process.env.CHROMIUM_BIN ?? "/usr/bin/chromium";
/** A folder whose files replace the embedded ones, so that a changed page can be tried without a build. */
const WEB = process.env.WEB_DIR;
const SCREENSHOTS = process.env.SCREENSHOTS ?? join(ROOT, "target/screenshots");
/** Settings of whoever runs the tests are none of the server's. */
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("CHINWAG_")));
/** Whatever is awaited comes within this time, also on a busy machine. */
const PATIENCE_MS = 60_000;
/** What the program says by its exit when its address is taken. */
const ADDRESS_TAKEN = 4;
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml" };

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One server, which can be killed and started again at the same address. */
export class Server {
  data = mkdtempSync(join(tmpdir(), "chinwag-web-"));
  address = "127.0.0.1:0";
  log = "";
  /** More settings, as variables. */
  settings = {};

  get url() {
    return `http://${this.address}`;
  }

  async start() {
    const ports = join(this.data, "ports.json");
    rmSync(ports, { force: true });
    const off = ["--messenger", "off", "--presence", "off", "--ops", "127.0.0.1:0", "--unlimited"];
    const args = ["serve", "--data", this.data, "--http", this.address, ...off];
    const env = { ...ENVIRONMENT, CHINWAG_DRAIN_WINDOW: "2s", ...this.settings };
    let gone;
    const run = () => {
      gone = undefined;
      this.process = spawn(BIN, args, { cwd: this.data, env });
      for (const stream of [this.process.stdout, this.process.stderr]) stream.on("data", (text) => (this.log += text));
      this.exited = new Promise((resolve) => this.process.once("exit", resolve));
      void this.exited.then((code) => (gone = code ?? "killed"));
    };
    run();
    for (const until = Date.now() + PATIENCE_MS; ; await sleep(20)) {
      const failed = gone !== undefined && gone !== ADDRESS_TAKEN;
      if (failed || Date.now() > until) throw new Error(`the server doesn't start:\n${this.log}`);
      // A connection may have the port of the one before, for a moment: it is of those that the kernel gives to anyone.
      if (gone === ADDRESS_TAKEN) run();
      try {
        this.address = JSON.parse(readFileSync(ports, "utf8")).http[0];
        await fetch(`${this.url}/health`);
        return;
      } catch {
        // Not yet.
      }
    }
  }

  /** Ends it as a power cut would. */
  async kill() {
    this.process.kill("SIGKILL");
    await this.exited;
  }

  /** Ends it as an operator would. */
  async drain() {
    this.process.kill("SIGTERM");
    await this.exited;
  }

  async stop() {
    await this.kill();
    rmSync(this.data, { recursive: true, force: true });
  }
}

/** Starts the browser that all visitors share. */
export function launch() {
  // A page that didn't come from the network counts as a stranger there, who may not talk to loopback.
  const args = WEB ? [...FLAGS, "--disable-features=LocalNetworkAccessChecks"] : FLAGS;
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
    if (WEB) await visitor.context.route((url) => url.pathname === "/" || url.pathname.startsWith("/web/"), fromFolder);
    visitor.page = await visitor.context.newPage();
    visitor.page.setDefaultTimeout(PATIENCE_MS);
    visitor.page.on("pageerror", (error) => visitor.defects.push(String(error.stack)));
    visitor.page.on("console", (message) => {
      // That a server that was killed can't be reached is no defect of the page, and neither is a refusal it shows.
      if (message.type() === "error" && !/ERR_CONNECTION|WebSocket connection|status of 4\d\d/.test(message.text())) visitor.defects.push(message.text());
    });
    return visitor;
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

  message(text) {
    return this.page.locator(".entries .message").filter({ has: this.page.locator(".text").getByText(text, { exact: true }) });
  }

  async sees(text) {
    await this.message(text).first().waitFor();
  }

  async screenshot(name) {
    mkdirSync(SCREENSHOTS, { recursive: true });
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
  }
}

async function fromFolder(route) {
  const path = new URL(route.request().url()).pathname;
  const file = path === "/" ? "index.html" : path.slice("/web/".length);
  const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; form-action 'self'";
  await route.fulfill({ body: readFileSync(join(WEB, file)), contentType: TYPES[extname(file)], headers: { "content-security-policy": policy } });
}

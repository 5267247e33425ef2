// The operators' console in a real browser, against the real program under the load test.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { seriousDefects } from "./axe.mjs";
import { Server, launch, sleep } from "./harness.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BIN = process.env.CHINWAG_BIN ?? join(ROOT, "target/debug/chinwag");
/** Beside the program that is tested, or where it is built. */
const BESIDE = join(dirname(BIN), "chinwag-loadtest");
const LOADTEST = process.env.CHINWAG_LOADTEST_BIN ?? (existsSync(BESIDE) ? BESIDE : join(ROOT, "target/debug/chinwag-loadtest"));
const SCREENSHOTS = process.env.SCREENSHOTS ?? join(ROOT, "target/screenshots");
const PATIENCE_MS = 60_000;
const ROOM = "Fan out 10 plain";

const server = new Server();
server.settings = { CHINWAG_GUESTS: "on" };
let browser, page, load, ops;
const defects = [];

/** Waits until `look` finds something. */
async function until(what, look) {
  for (const end = Date.now() + PATIENCE_MS; ; await sleep(100)) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`in vain: ${what}`);
  }
}

/** Writes a WebSocket frame of a client. */
function masked(text) {
  const payload = Buffer.from(text);
  const mask = randomBytes(4);
  assert.ok(payload.length < 126);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, payload.map((byte, at) => byte ^ mask[at % 4])]);
}

/** A guest who listens to a room and stops reading. */
async function lazyReader(name, room) {
  const [host, port] = server.address.split(":");
  const socket = connect({ host, port: Number(port) });
  const key = randomBytes(16).toString("base64");
  socket.write(`GET /ws HTTP/1.1\r\nHost: ${server.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Protocol: chinwag.v1\r\n\r\n`);
  socket.write(masked(JSON.stringify({ id: "1", type: "hello", protocol: 1, guest: name })));
  socket.write(masked(JSON.stringify({ id: "2", type: "room.listen", name: room })));
  let heard = "";
  await new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("data", (data) => {
      heard += data.toString("latin1");
      if (heard.includes('"id":"2"')) resolve();
    });
  });
  socket.removeAllListeners("data");
  socket.pause();
  return socket;
}

const click = (name) => page.getByRole("link", { name, exact: true }).click();
const shot = (name) => page.screenshot({ path: join(SCREENSHOTS, `console-${name}.png`), fullPage: true });
const get = async (path) => (await fetch(`http://${ops}/admin/${path}`)).json();

async function accessible(what) {
  assert.deepEqual(await seriousDefects(page), [], what);
}

async function open(scheme = "light") {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: scheme, locale: "en-GB" });
  const opened = await context.newPage();
  opened.setDefaultTimeout(PATIENCE_MS);
  opened.on("pageerror", (error) => defects.push(String(error.stack)));
  opened.on("console", (message) => {
    if (message.type() === "error" && !/ERR_CONNECTION|status of 4\d\d/.test(message.text())) defects.push(message.text());
  });
  await opened.goto(`http://${ops}/console`);
  return opened;
}

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  await server.start();
  ops = JSON.parse(readFileSync(join(server.data, "ports.json"), "utf8")).ops[0];
  const args = ["fanout", "--alone", "--quiet", "--rounds", "1", "--mode", "paced", "--rate", "100", "--bytes", "4000", "--receivers", "10", "--messages", "100000",
    "--node", join(server.data, "ports.json")];
  // Settings of whoever runs the tests are none of the load test's.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("CHINWAG_")));
  load = spawn(LOADTEST, args, { env, stdio: ["ignore", "ignore", "inherit"] });
  let gone = false;
  load.once("exit", () => (gone = true));
  await until("the load test's room", async () => {
    if (gone) throw new Error("the load test has ended");
    return (await get("conversations")).shown.some(({ name, sockets }) => name === ROOM && sockets === 11);
  });
  browser = await launch();
  page = await open();
});

after(async () => {
  load?.kill("SIGKILL");
  await browser?.close();
  await server.stop();
});

test("a room made busy is found, opened and understood in three clicks", async () => {
  // One: where conversations are.
  await click("Conversations");
  const row = page.locator("tbody tr").first();
  await page.locator("tbody tr", { hasText: ROOM }).waitFor();
  assert.match(await row.textContent(), new RegExp(ROOM), "the busiest is first");
  await accessible("conversations");
  await shot("conversations-light");
  // Two: the room.
  await click(ROOM);
  const sentence = page.locator(".sentence").filter({ hasText: "events per second are written" });
  await sentence.waitFor();
  // What makes it busy, for how many, and whether it keeps up; a third click isn't needed.
  assert.match(await sentence.textContent(), /^\d+(\.\d)? events per second are written; 11 sockets hear it, which makes about [\d,.K]+ deliveries per second\. poster-0 wrote \d+ of the \d+ newest events\./);
  await page.getByRole("row", { name: /poster-0 \d+ 100 %/ }).waitFor();
  await accessible("one conversation");
  await shot("conversation-light");
});

test("a slow reader is named", async () => {
  const reader = await lazyReader("carol", ROOM);
  await click("Sockets");
  const row = page.locator("tr.bad", { hasText: "carol (guest)" });
  await row.waitFor();
  await page.locator(".sentence", { hasText: "1 slow reader: carol." }).waitFor();
  await accessible("sockets");
  await shot("sockets-light");
  // And can be sent away from here.
  await row.getByRole("button", { name: "Kick carol" }).click();
  await page.getByRole("heading", { name: "Close the socket of carol?" }).waitFor();
  await page.getByRole("button", { name: "Yes, do it" }).click();
  reader.resume();
  await new Promise((resolve) => reader.once("close", resolve));
  await page.locator(".sentence", { hasText: "Nobody reads slowly." }).waitFor();
});

test("the kinds of actors open to single ones and their state", async () => {
  await click("Actors");
  await page.locator("tbody tr", { hasText: "session" }).waitFor();
  await click("session");
  await page.locator(".states li").nth(3).waitFor();
  await click("room");
  await page.locator(".states li", { hasText: `"name": "${ROOM}"` }).waitFor();
  await page.getByRole("row", { name: /^Post / }).waitFor();
  await accessible("actors");
  await shot("actors-light");
});

test("what an operator does is confirmed by its name and written down", async () => {
  await click("Actions");
  const room = page.locator("form.panel", { has: page.getByRole("heading", { name: "A room" }) });
  await room.getByLabel("Name").fill("No such room");
  await room.getByRole("button", { name: "Close…" }).click();
  const yes = page.getByRole("button", { name: "Yes, do it" });
  assert.equal(await yes.isDisabled(), true);
  await page.getByLabel("Type No such room to confirm").fill("no such room");
  assert.equal(await yes.isDisabled(), true, "another name");
  await page.getByLabel("Type No such room to confirm").fill("No such room");
  await yes.click();
  await page.getByRole("alert").filter({ hasText: "There is no room No such room." }).waitFor();
  await accessible("a dialog");
  await shot("confirm-light");
  await page.keyboard.press("Escape");
  const everybody = page.locator("form.panel", { has: page.getByRole("heading", { name: "Everybody" }) });
  await everybody.getByLabel("Message").fill("Tea is ready");
  await everybody.getByRole("button", { name: "Broadcast…" }).focus();
  // By keyboard alone from here.
  await page.keyboard.press("Enter");
  await page.keyboard.type("everybody");
  await page.keyboard.press("Enter");
  await page.locator("#said", { hasText: "goes out to everybody" }).waitFor();
  await page.getByRole("row", { name: /broadcast everybody done/ }).waitFor();
  await page.getByRole("row", { name: /close room No such room refused There is no room/ }).waitFor();
  await page.getByRole("row", { name: /kick \S+ done the socket/ }).waitFor();
  await accessible("actions");
  await shot("actions-light");
});

test("the last half hour is drawn, light and dark, wide and narrow", async () => {
  await click("Overview");
  await until("a curve", async () => (await page.locator(".line").first().getAttribute("d"))?.includes("L"));
  await page.getByRole("img", { name: /Messages per second: now \d+/ }).waitFor();
  await accessible("overview");
  await shot("overview-light");
  const dark = await open("dark");
  const light = page;
  page = dark;
  await page.locator("figure .now", { hasText: /\d/ }).first().waitFor();
  await until("a curve", async () => (await page.locator(".line").first().getAttribute("d"))?.includes("L"));
  await accessible("overview, dark");
  await shot("overview-dark");
  await page.setViewportSize({ width: 390, height: 800 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `the page is ${wide} px too wide`);
  await shot("phone-dark");
  await page.context().close();
  page = light;
});

test("watching costs little, and nothing while nobody looks", async (context) => {
  load.kill("SIGKILL");
  const ticks = () => {
    const fields = readFileSync(`/proc/${server.process.pid}/stat`, "utf8").split(") ")[1].split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  const over = async (ms) => {
    const [at, before] = [performance.now(), ticks()];
    await sleep(ms);
    return (((ticks() - before) * 10) / (performance.now() - at)) * 100;
  };
  // The load's sockets have gone.
  await until("silence", async () => (await get("overview")).sockets.open === 0);
  await click("Conversations");
  const watched = await over(8000);
  await page.close();
  await sleep(500);
  const alone = await over(8000);
  context.diagnostic(`processor: ${watched.toFixed(2)} % of one while watched, ${alone.toFixed(2)} % while not`);
  assert.ok(alone < 5, `${alone} % while nobody looks`);
});

test("no page had an error", () => assert.deepEqual(defects, []));

// A stranger's first minute with a new server: an account, a group, a link, and somebody who answers.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { Server, Visitor, launch, steps } from "./harness.mjs";

/** From the first page to the answer, with what the machine needs for it; a person reads and types besides. */
const MACHINE_MAX_MS = 20_000;

const server = new Server();
let browser, stranger, friend, from;
const step = steps(() => [stranger, friend]);

before(async () => {
  await server.start();
  browser = await launch();
  stranger = await Visitor.come(browser, server, { permissions: ["clipboard-read", "clipboard-write"] });
  friend = await Visitor.come(browser, server);
});

after(async () => {
  await browser?.close();
  await server.stop();
});

step("a stranger makes an account and a group without being told how", async () => {
  from = Date.now();
  const { page } = stranger;
  await page.goto(server.url);
  await page.getByRole("button", { name: "Register" }).click();
  await page.getByLabel("Name").fill("stella");
  await page.getByLabel("Password").fill("correct horse");
  await page.keyboard.press("Enter");
  await stranger.online();
  await page.getByRole("button", { name: "New conversation" }).click();
  await page.getByLabel("New group").fill("Sunday walk");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Sunday walk", level: 2 }).waitFor();
  await stranger.say("Meet at the old mill, 10:00?");
  await stranger.message("Meet at the old mill, 10:00?").locator(".stage:not(.sending)").waitFor();
});

step("the link that is copied leads a friend, who has no account yet, into the group", async () => {
  await stranger.page.getByRole("button", { name: "Copy link" }).click();
  await stranger.page.locator("#toast", { hasText: "Link copied" }).waitFor();
  const link = await stranger.page.evaluate(() => navigator.clipboard.readText());
  assert.ok(link.startsWith(`${server.url}/#group=`), link);
  const { page } = friend;
  await page.goto(link);
  await page.getByRole("button", { name: "Register" }).click();
  await page.getByLabel("Name").fill("frank");
  await page.getByLabel("Password").fill("correct horse");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByRole("button", { name: "Join the group" }).click();
  await friend.sees("Meet at the old mill, 10:00?");
});

step("the friend answers", async (context) => {
  await friend.say("I bring the thermos :tea:");
  await stranger.sees("I bring the thermos 🍵");
  const took = Date.now() - from;
  context.diagnostic(`${(took / 1000).toFixed(1)} s`);
  assert.ok(took < MACHINE_MAX_MS, `${took} ms`);
  await stranger.screenshot("first-minute");
});

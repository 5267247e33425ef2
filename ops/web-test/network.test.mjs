// Networks that fail, tabs that are closed and servers that die: what was written arrives, once and in order.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { Cable, Server, Visitor, launch, sleep, steps } from "./harness.mjs";

const server = new Server();
let browser, cable, ann, bob;
const step = steps(() => [ann, bob]);

before(async () => {
  await server.start();
  cable = await Cable.to(server);
  browser = await launch();
  ann = await Visitor.come(browser, cable);
  bob = await Visitor.come(browser, server);
});

after(async () => {
  await browser?.close();
  await cable?.remove();
  await server.stop();
});

/** Asserts that both have these messages once, in this order. */
async function bothHave(...texts) {
  for (const visitor of [ann, bob]) {
    for (const text of texts) await visitor.sees(text);
    const all = await visitor.page.locator(".entries .message .text").allTextContents();
    assert.deepEqual(all.filter((text) => texts.includes(text)), texts);
  }
}

step("two people talk, one of them through a cable", async () => {
  await ann.register("ann");
  await bob.register("bob");
  await ann.begin("Chat", "bob");
  await ann.say("Can you hear me?");
  await bob.open("ann");
  await bothHave("Can you hear me?");
});

step("the network is cut while one types: what was typed stays, is sent after, and arrives once", async () => {
  const input = ann.page.getByLabel("Message", { exact: true });
  await input.pressSequentially("I was about ");
  await bob.page.locator(".typists", { hasText: "typing" }).waitFor();
  cable.cut();
  await input.pressSequentially("to say something");
  await ann.page.keyboard.press("Enter");
  await ann.message("I was about to say something").locator(".stage.sending").waitFor();
  await ann.say("and this, too");
  await ann.page.locator("#status", { hasText: "2 messages waiting" }).waitFor();
  // Nobody types for ever.
  await bob.page.locator(".typists").filter({ hasNotText: "typing" }).waitFor();
  assert.equal(await bob.message("and this, too").count(), 0);
  cable.mend();
  await ann.hurry();
  await ann.online();
  await bothHave("I was about to say something", "and this, too");
  await ann.message("and this, too").locator(".stage.read").waitFor();
});

step("the browser says offline, then online: it comes back without a click", async () => {
  await ann.context.setOffline(true);
  cable.cut();
  await ann.say("Tunnel");
  await ann.page.locator("#status", { hasText: "Offline" }).waitFor();
  await bob.say("Where are you?");
  cable.mend();
  await ann.context.setOffline(false);
  await ann.online();
  await ann.sees("Where are you?");
  await bothHave("Where are you?", "Tunnel");
});

step("a network that breaks all the time loses and repeats nothing", async () => {
  const texts = Array.from({ length: 12 }, (_, at) => `Crackle ${at + 1}`);
  for (const [at, text] of texts.entries()) {
    await ann.say(text);
    await sleep(at * 7);
    cable.cut();
    cable.mend();
    await ann.hurry();
  }
  await ann.online();
  await bothHave(...texts);
  await ann.page.waitForFunction(() => document.querySelectorAll(".stage.sending").length === 0);
});

step("a tab is closed with unsent messages: when the page is opened again they are sent once", async () => {
  cable.cut();
  await ann.say("Written into the dark");
  await ann.say("and closed");
  await ann.page.locator("#status", { hasText: "2 messages waiting" }).waitFor();
  await ann.page.close();
  cable.mend();
  await ann.newPage();
  await ann.page.goto(cable.url);
  await ann.online();
  await ann.open("bob");
  await bothHave("Written into the dark", "and closed");
  await ann.page.waitForFunction(() => document.querySelectorAll(".stage.sending").length === 0);
});

step("several tabs with one unsent message send it once", async () => {
  cable.cut();
  await ann.say("Who sends me?");
  await ann.page.locator("#status", { hasText: "1 message waiting" }).waitFor();
  cable.mend();
  const others = [await ann.tab(), await ann.tab()];
  await Promise.all(others.map((page) => page.goto(`${cable.url}/#chat=bob`)));
  await ann.hurry();
  await ann.online();
  await bothHave("Who sends me?");
  for (const page of others) {
    await page.locator(".message.own .text", { hasText: "Who sends me?" }).waitFor();
    await page.waitForFunction(() => document.querySelectorAll(".stage.sending").length === 0);
    assert.equal(await page.locator(".text", { hasText: "Who sends me?" }).count(), 1);
  }
  for (const page of others) await page.close();
});

step("the server is killed between sending and answer, and restarted: each message comes once", async () => {
  const texts = Array.from({ length: 4 }, (_, at) => `Thunder ${at + 1}`);
  for (const [at, text] of texts.entries()) {
    await ann.say(text);
    await sleep(at * 4);
    await server.kill();
    await server.start();
    for (const visitor of [ann, bob]) await visitor.hurry();
    await Promise.all([ann.online(), bob.online()]);
  }
  await bothHave(...texts);
  await bob.page.reload();
  await bob.online();
  await bothHave(...texts);
});

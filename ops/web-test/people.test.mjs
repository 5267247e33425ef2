// Three people and their tabs: groups, typing, presence, unread messages, edits, profiles, languages. What the first page can do is in
// first-page.test.mjs.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { Server, Visitor, launch, steps } from "./harness.mjs";

const MANY = 70;

const server = new Server();
let browser, ann, bob, cleo, second;
const step = steps(() => [ann, bob, cleo]);

before(async () => {
  server.settings = { CHINWAG_PRESENCE_GRACE: "1s" };
  await server.start();
  browser = await launch();
  ann = await Visitor.come(browser, server);
  bob = await Visitor.come(browser, server);
  cleo = await Visitor.come(browser, server, { locale: "de-DE" });
});

after(async () => {
  await browser?.close();
  await server.stop();
});

step("a group of three by its link, and who is typing", async () => {
  await ann.register("ann");
  await ann.begin("New group", "Choir");
  const hash = await ann.page.evaluate(() => location.hash);
  await bob.register("bob", hash);
  await bob.page.getByRole("button", { name: "Join the group" }).click();
  await bob.page.getByRole("heading", { name: "Choir", level: 2 }).waitFor();
  // Somebody whose browser speaks German.
  await cleo.page.goto(`${server.url}/${hash}`);
  await cleo.page.getByRole("button", { name: "Registrieren" }).click();
  await cleo.page.getByLabel("Name").fill("cleo");
  await cleo.page.getByLabel("Passwort").fill("correct horse");
  await cleo.page.getByRole("button", { name: "Konto anlegen" }).click();
  await cleo.page.getByRole("button", { name: "Der Gruppe beitreten" }).click();
  await cleo.page.locator(".about", { hasText: "3 Mitglieder" }).waitFor();
  await ann.page.locator(".note", { hasText: "cleo" }).waitFor();
  for (const visitor of [bob, cleo]) await visitor.page.locator(".composer textarea").pressSequentially("La");
  await ann.page.locator(".typists", { hasText: /bob, cleo|cleo, bob/ }).waitFor();
  for (const visitor of [bob, cleo]) await visitor.page.locator(".composer textarea").fill("");
  await ann.page.waitForFunction(() => document.querySelector(".typists").textContent === "");
});

step("marks, emoji and links are shown as what they are, and nothing else is", async () => {
  await ann.say("**Loud**, *soft*, ~~wrong~~, `code`, :tea: and https://example.org/a_b");
  const message = bob.page.locator(".message", { hasText: "Loud" });
  await message.waitFor();
  assert.deepEqual(await message.locator(".text").evaluate((node) => [...node.querySelectorAll("*")].map(({ localName, textContent }) => [localName, textContent])),
    [["strong", "Loud"], ["em", "soft"], ["del", "wrong"], ["code", "code"], ["a", "https://example.org/a_b"]]);
  assert.match(await message.locator(".text").textContent(), /🍵/);
  const link = await message.locator("a").evaluate(({ href, target, rel }) => ({ href, target, rel }));
  assert.deepEqual(link, { href: "https://example.org/a_b", target: "_blank", rel: "noopener noreferrer nofollow" });
  await ann.say("[click me](javascript:alert(1)) <script>window.hurt = 1</script> [here](https://example.org/x)");
  const other = bob.page.locator(".message", { hasText: "click me" });
  await other.waitFor();
  assert.deepEqual(await other.locator("a").evaluateAll((links) => links.map(({ href }) => href)), ["https://example.org/x"]);
  assert.match(await other.locator(".text").textContent(), /here \(example\.org\)/);
  assert.equal(await other.locator("script").count(), 0);
  assert.equal(await bob.row("Choir").locator(".preview").textContent(), "⁨ann⁩: ⁨[click me](javascript:alert(1)) <script>window.hurt = 1</script> here⁩");
});

step("presence: gone, and back", async () => {
  await ann.begin("Chat", "bob");
  await ann.say("Alto or tenor?");
  await ann.row("bob").locator(".dot.online").waitFor();
  await bob.row("ann").locator(".badge", { hasText: "1" }).waitFor();
  await bob.page.goto("about:blank");
  await ann.row("bob").locator(".dot:not(.online)").waitFor();
  await ann.page.locator(".about", { hasText: /last seen|offline/ }).waitFor();
  await bob.page.goto(server.url);
  await bob.online();
  await ann.row("bob").locator(".dot.online").waitFor();
});

step("many unread messages: counted, and the first of them is one click away", async () => {
  await bob.open("ann");
  await ann.open("Choir");
  for (let at = 1; at <= MANY; at += 1) await ann.say(`Bar ${at}`);
  await bob.row("Choir").locator(".badge", { hasText: String(MANY) }).waitFor();
  assert.match(await bob.page.title(), new RegExp(`^\\(${MANY}\\)`));
  await bob.open("Choir");
  await bob.sees(`Bar ${MANY}`);
  await bob.screenshot("unread");
  const [pill, pane] = await Promise.all([bob.page.locator(".to-new").boundingBox(), bob.page.locator(".scroller").boundingBox()]);
  assert.ok(Math.abs(pill.x + pill.width / 2 - pane.x - pane.width / 2) < 20, "the button is over the middle of the messages");
  assert.ok(pill.y > pane.y && pill.y < pane.y + 40, "and at their top");
  await bob.page.locator(".to-new").click();
  const mark = bob.page.locator(".entries .new");
  await mark.waitFor();
  const [line, view, first] = await Promise.all([mark.boundingBox(), bob.page.locator(".scroller").boundingBox(), bob.message("Bar 1").boundingBox()]);
  assert.ok(line.y >= view.y - 1 && first.y > line.y && first.y + first.height < view.y + view.height, JSON.stringify({ line, view, first }));
  await bob.page.locator(".to-new").waitFor({ state: "hidden" });
  await bob.page.locator(".down").click();
  await bob.page.waitForFunction(() => document.querySelector(".down").hidden);
  await bob.row("Choir").locator(".badge").filter({ hasText: /./ }).waitFor({ state: "hidden" });
});

step("what comes while one reads above doesn't move what one reads", async () => {
  const scroller = bob.page.locator(".scroller");
  await scroller.evaluate((node) => node.scrollBy(0, -500));
  await bob.page.locator(".down").waitFor();
  const place = () => bob.page.evaluate(() => {
    const top = document.querySelector(".scroller").getBoundingClientRect().top;
    const node = [...document.querySelectorAll(".entries .message")].find((one) => one.getBoundingClientRect().top >= top);
    return [node.querySelector(".text").textContent, Math.round(node.getBoundingClientRect().top)];
  });
  const was = await place();
  await ann.say("Meanwhile below");
  await bob.page.locator(".down .badge", { hasText: "1" }).waitFor();
  assert.deepEqual(await place(), was);
  await bob.page.locator(".down").click();
  await bob.sees("Meanwhile below");
});

step("a message is edited, quoted and deleted by pointer", async () => {
  await ann.say("Rehearsal at sevn");
  await (await ann.tool(ann.message("Rehearsal at sevn"), "Edit")).click();
  await ann.page.getByLabel("Message", { exact: true }).fill("Rehearsal at seven");
  await ann.page.keyboard.press("Enter");
  await bob.sees("Rehearsal at seven");
  await bob.message("Rehearsal at seven").locator(".edited").waitFor();
  const quote = await bob.tool(bob.message("Rehearsal at seven"), "Quote");
  assert.equal(await bob.page.locator(".tools").getByRole("button", { name: "Delete" }).count(), 0, "only one's own");
  await quote.click();
  await bob.page.keyboard.type("I'll be late");
  await bob.page.keyboard.press("Enter");
  await ann.page.locator(".message blockquote", { hasText: "Rehearsal at seven" }).waitFor();
  const remove = await ann.tool(ann.message("Rehearsal at seven").first(), "Delete");
  await remove.click();
  await remove.click();
  await bob.sees("Message deleted");
});

step("two tabs are one session: what is read in one is read in the other, what is said is in both", async () => {
  second = await bob.tab();
  await second.goto(`${server.url}/#chat=ann`);
  await second.locator('body[data-connection="online"]').waitFor();
  await bob.page.bringToFront();
  await bob.open("ann");
  await ann.open("bob");
  await second.evaluate(() => (location.hash = ""));
  await bob.open("Choir");
  await ann.say("Which tab?");
  for (const page of [bob.page, second]) await page.locator(".row", { hasText: "ann" }).locator(".badge", { hasText: "1" }).waitFor();
  await bob.open("ann");
  await bob.sees("Which tab?");
  for (const page of [bob.page, second]) await page.waitForFunction(() => ![...document.querySelectorAll(".row.direct .badge, .row .badge")].some((node) => node.textContent));
  await second.evaluate(() => (location.hash = "chat=ann"));
  await bob.say("This one");
  await second.locator(".message.own .text", { hasText: "This one" }).waitFor();
  await ann.sees("This one");
  assert.equal(await second.locator(".text", { hasText: "This one" }).count(), 1);
});

step("a display name is seen by others", async () => {
  await bob.page.locator("#side .mine").click();
  await bob.page.getByLabel("Display name").fill("Bob the Bass");
  await bob.page.locator("dialog .ask button").click();
  await bob.page.locator("#toast", { hasText: "Saved" }).waitFor();
  await bob.page.keyboard.press("Escape");
  await bob.page.locator(".me", { hasText: "Bob the Bass" }).waitFor();
  await ann.page.reload();
  await ann.online();
  await ann.row("Bob the Bass").waitFor();
});

step("theme and language are chosen, and kept", async () => {
  const { page } = ann;
  await page.locator("#side .mine").click();
  await page.locator("dialog label", { hasText: "Dark" }).click();
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), "dark");
  await page.locator("dialog label", { hasText: "العربية" }).click();
  await page.locator('html[dir="rtl"][lang="ar"]').waitFor();
  await ann.online();
  await page.getByRole("button", { name: "محادثة جديدة" }).waitFor();
  await page.reload();
  await ann.online();
  assert.deepEqual(await page.evaluate(() => [document.documentElement.dir, document.documentElement.dataset.theme]), ["rtl", "dark"]);
  const [side, thread] = await Promise.all([page.locator("#side").boundingBox(), page.locator("#thread").boundingBox()]);
  assert.ok(side.x > thread.x, "the list is at the right");
  await page.locator("#side .mine").click();
  await page.locator("dialog label", { hasText: "English" }).click();
  await page.locator('html[dir="ltr"][lang="en"]').waitFor();
  await ann.online();
});

step("a conversation is found by its name", async () => {
  await ann.page.keyboard.press("Escape");
  await ann.page.keyboard.press("Control+k");
  await ann.page.keyboard.type("CHO");
  await ann.row("Bob the Bass").waitFor({ state: "detached" });
  await ann.page.keyboard.press("Enter");
  await ann.page.getByRole("heading", { name: "Choir", level: 2 }).waitFor();
  await ann.row("Bob the Bass").waitFor();
});

step("who leaves a group hears it no more, and may come back by the link", async () => {
  const hash = await ann.page.evaluate(() => location.hash);
  await cleo.page.getByRole("button", { name: "Verlassen" }).click();
  await cleo.page.locator("dialog .danger").click();
  await cleo.row("Choir").waitFor({ state: "detached" });
  await ann.page.locator(".about", { hasText: "2 members" }).waitFor();
  await ann.say("Was it the tenors?");
  await cleo.page.evaluate((to) => (location.hash = to), hash);
  await cleo.page.getByRole("button", { name: "Der Gruppe beitreten" }).click();
  await cleo.sees("Was it the tenors?");
});

step("logging out in one tab logs out all, and leaves nothing to who comes next", async () => {
  await bob.page.bringToFront();
  await bob.open("Choir");
  await bob.page.getByLabel("Message", { exact: true }).fill("never meant for dora");
  await second.bringToFront();
  await second.getByRole("button", { name: "Log out" }).click();
  await second.locator("#entry").waitFor();
  await bob.page.locator("#entry").waitFor();
  assert.equal(await bob.page.evaluate(() => localStorage.getItem("chinwag.session")), null);
  await bob.page.bringToFront();
  const left = await bob.page.evaluate(() => [document.body.textContent, document.querySelector("textarea").value, ...Object.values(sessionStorage)].join());
  for (const word of ["never meant", "Choir", "Bob the Bass"]) assert.ok(!left.includes(word), `${word} in ${left}`);
  const hash = await bob.page.evaluate(() => location.hash);
  await bob.page.getByRole("button", { name: "Register" }).click();
  await bob.page.getByLabel("Name").fill("dora");
  await bob.page.getByLabel("Password").fill("correct horse");
  await bob.page.getByRole("button", { name: "Create account" }).click();
  await bob.online();
  assert.match(hash, /^#group=/);
  await bob.page.getByRole("button", { name: "Join the group" }).click();
  await bob.page.getByRole("heading", { name: "Choir", level: 2 }).waitFor();
  assert.equal(await bob.page.getByLabel("Message", { exact: true }).inputValue(), "");
});

step("where a browser may keep nothing, one can talk all the same", async () => {
  const erin = await Visitor.come(browser, server);
  await erin.page.addInitScript(() => {
    for (const name of ["localStorage", "sessionStorage", "indexedDB"]) {
      Object.defineProperty(globalThis, name, { get() {
        throw new DOMException("Access is denied for this document.", "SecurityError");
      } });
    }
  });
  await erin.register("erin");
  await erin.begin("Chat", "cleo");
  await erin.say("no cookies");
  await erin.sees("no cookies");
  await erin.page.getByRole("button", { name: "Log out" }).click();
  await erin.page.locator("#entry").waitFor();
  assert.deepEqual(erin.defects, []);
  await erin.context.close();
});

// Every state of the page as people with different wishes see it: axe-core finds nothing serious in any, and each is a screenshot.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { seriousDefects } from "./axe.mjs";
import { Cable, Server, Visitor, launch } from "./harness.mjs";

const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
/** What differs between the people who look. */
const LOOKS = [
  { name: "light", options: { locale: "en-GB", colorScheme: "light" } },
  { name: "dark", options: { locale: "de-DE", colorScheme: "dark" } },
  { name: "phone", options: { ...PHONE, locale: "en-GB", colorScheme: "light" } },
  { name: "arabic", options: { locale: "ar-EG", colorScheme: "light" } },
  { name: "arabic-phone", options: { ...PHONE, locale: "ar-EG", colorScheme: "dark" }, few: true },
];
/** States that are enough where two wishes come together. */
const FEW = new Set(["entry-login", "list", "group", "chat", "settings"]);
const TEXT = "Route for *Saturday*: see https://example.org/maps?lake=3 or [the plan](https://example.org/plan)\n> Swimming on Saturday then!\nPack list:\n```\ntent  x2\nstove x1\n```";

const server = new Server();
let browser, password;

before(async () => {
  password = server.seed();
  await server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server.stop();
});

for (const { name, options, few = false } of LOOKS) {
  test(`every state: ${name}`, async (context) => {
    const cable = await Cable.to(server);
    context.after(() => cable.remove());
    const visitor = await Visitor.come(browser, cable, options);
    const { page } = visitor;
    const narrow = options.isMobile === true;
    const found = [];
    /** Takes the picture of a state, and has it looked over. */
    const shown = async (state) => {
      if (few && !FEW.has(state)) return;
      await page.evaluate(() => Promise.all(document.getAnimations().filter((one) => one.effect?.getTiming().iterations !== Infinity).map(({ finished }) => finished.catch(() => {}))));
      await visitor.screenshot(`${state}-${name}`);
      for (const defect of await seriousDefects(page)) found.push(`${state}: ${defect}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) found.push(`${state}: ${wide} px too wide`);
    };
    const back = () => (narrow ? page.locator("#thread .back >> visible=true").click() : undefined);
    const close = async () => {
      await page.keyboard.press("Escape");
      await page.locator("dialog").waitFor({ state: "detached" });
    };
    const chat = (hash) => page.evaluate((to) => (location.hash = to), hash);
    const row = (title) => page.locator("#side .row", { hasText: title });

    await page.goto(cable.url);
    for (const mode of ["login", "register", "guest"]) {
      await page.locator(`.tab[data-mode="${mode}"]`).click();
      await shown(`entry-${mode}`);
    }
    await page.locator('.tab[data-mode="login"]').click();
    await page.locator("#entry-name").fill("ann");
    await page.locator("#entry-password").fill("not this one");
    await page.locator("#entry button[type=submit]").click();
    await page.locator("#entry .error", { hasText: /./ }).waitFor();
    await shown("entry-refused");
    await page.locator("#entry-password").fill(password);
    await page.locator("#entry button[type=submit]").click();
    await visitor.online();
    await row("Trip to the lakes").waitFor();
    await shown("list");

    await page.locator(".search input").fill("zzz");
    await page.locator("#side .hint", { hasText: "zzz" }).waitFor();
    await shown("list-search");
    await page.locator(".search input").fill("");
    await row("Trip to the lakes").click();
    const messages = page.locator(".entries .message");
    await messages.first().waitFor();
    await shown("group-unread");
    await page.locator(".composer textarea").fill(TEXT);
    await page.locator(".composer .send").click();
    await page.locator(".message.own .text pre").last().waitFor();
    await page.locator(".composer textarea").fill("🏕️");
    await page.locator(".composer .send").click();
    await page.locator(".jumbo").last().waitFor();
    await page.waitForFunction(() => !document.querySelector(".stage.sending"));
    await shown("group");
    await messages.last().focus();
    await page.locator(".tools").waitFor();
    await shown("message-tools");
    await page.locator(".composer textarea").fill("");
    await page.locator(".composer textarea").press("ArrowUp");
    await page.locator(".editing").waitFor();
    await shown("editing");
    await page.keyboard.press("Escape");
    await page.locator(".composer .emoji").click();
    await page.locator(".emoji-panel").waitFor();
    await shown("emoji");
    await page.keyboard.press("Escape");
    await page.locator("#thread .about").click();
    await page.locator("dialog .person").first().waitFor();
    await shown("members");
    await close();
    await page.locator("#thread .leave").click();
    await page.locator("dialog .danger").waitFor();
    await shown("leave");
    await close();

    await back();
    await row("Bob").first().click();
    await messages.first().waitFor();
    await shown("chat");
    await back();
    await row("Lobby").click();
    await messages.first().waitFor();
    await shown("room");
    await chat("group=12345");
    await page.locator(".blank .primary").waitFor();
    await shown("invited");
    await chat("");
    await page.locator("#side .row").first().waitFor();
    if (!narrow) await shown("nothing-open");
    await page.locator("#side .bar .filled").click();
    await page.locator("dialog .ask").first().waitFor();
    await shown("new");
    await close();
    await page.locator("#side .mine").click();
    await page.locator("dialog .settings").waitFor();
    await shown("settings");
    await close();

    await row("Trip to the lakes").click();
    await messages.first().waitFor();
    cable.cut();
    await page.locator(".composer textarea").fill("Is anybody there?");
    await page.locator(".composer .send").click();
    await page.locator("#status").waitFor();
    await shown("offline");
    await visitor.context.close();
    assert.deepEqual(found, []);
    assert.deepEqual(visitor.defects, []);
  });
}

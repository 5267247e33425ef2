// Everything by keyboard alone: no pointer is ever used here, and the focus is always somewhere that can be seen.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { Server, Visitor, launch, steps } from "./harness.mjs";

/** Whatever can be reached at all is reached with so many tabs. */
const TABS_MAX = 40;

const server = new Server();
let browser, kay, ann;
const step = steps(() => [kay, ann]);

before(async () => {
  await server.start();
  browser = await launch();
  [kay, ann] = [await Visitor.come(browser, server), await Visitor.come(browser, server)];
  for (const method of ["click", "dblclick", "tap", "hover"]) {
    kay.page[method] = () => assert.fail("no pointer here");
    kay.page.mouse[method] = () => assert.fail("no pointer here");
  }
});

after(async () => {
  await browser?.close();
  await server.stop();
});

const press = async (...keys) => {
  for (const key of keys) await kay.page.keyboard.press(key);
};

/** What has the focus: its name as it is read out, its text, and whether its focus can be seen. */
const focused = () => kay.page.evaluate(() => {
  const node = document.activeElement;
  const label = node.getAttribute("aria-label") ?? [...(node.labels ?? [])].map((one) => one.textContent).join(" ");
  const ring = [node, node.querySelector(".bubble"), node.closest("label")].some((one) => one && getComputedStyle(one).outlineStyle !== "none");
  return { name: (label || node.textContent).trim(), tag: node.localName, classes: node.className, ring };
});

/** Tabs on until something of this name has the focus. */
async function tabTo(name, key = "Tab") {
  const passed = [];
  for (let at = 0; at < TABS_MAX; at += 1) {
    const now = await focused();
    if (name instanceof RegExp ? name.test(now.name) : now.name === name) {
      assert.ok(now.ring, `the focus on ${now.name} can't be seen`);
      return;
    }
    passed.push(now.name || now.tag);
    await press(key);
  }
  assert.fail(`${name} isn't reached: ${passed.join(" → ")}`);
}

step("an account", async () => {
  await kay.page.goto(server.url);
  await tabTo("Register", "Shift+Tab");
  await press("Enter");
  await tabTo("Name");
  await kay.page.keyboard.type("kay");
  await tabTo("Password");
  await kay.page.keyboard.type("correct horse");
  await press("Enter");
  await kay.online();
});

step("the skip link is the first thing there is", async () => {
  await kay.page.reload();
  await kay.online();
  await press("Tab");
  assert.match((await focused()).name, /Skip/);
  assert.ok((await kay.page.locator("#skip").boundingBox()).y >= 0);
});

step("a group is made in a dialog that takes the focus, and gives it back", async () => {
  await tabTo("New conversation");
  await press("Enter");
  await kay.page.locator("dialog").waitFor();
  await press("Escape");
  await kay.page.locator("dialog").waitFor({ state: "detached" });
  assert.equal((await focused()).name, "New conversation");
  await press("Enter");
  await kay.page.locator("dialog").waitFor();
  await tabTo("New group");
  await kay.page.keyboard.type("Knitting");
  await press("Enter");
  await kay.page.getByRole("heading", { name: "Knitting", level: 2 }).waitFor();
  await kay.page.locator("dialog").waitFor({ state: "detached" });
});

step("messages are written, edited, deleted", async () => {
  await tabTo("Message");
  await kay.page.keyboard.type("Purl two");
  await press("Enter");
  await kay.message("Purl two").locator(".stage:not(.sending)").waitFor();
  await press("ArrowUp");
  await kay.page.locator(".editing").waitFor();
  await press("Escape");
  await kay.page.locator(".editing").waitFor({ state: "hidden" });
  await press("ArrowUp");
  await kay.page.keyboard.type(" together");
  await press("Enter");
  await kay.sees("Purl two together");
  for (const text of ["Second", "Third"]) {
    await kay.page.keyboard.type(text);
    await press("Enter");
    await kay.message(text).locator(".stage:not(.sending)").waitFor();
  }
  // Back into the messages, with the arrows to one of them, with Enter to what can be done with it.
  await tabTo("Messages", "Shift+Tab");
  await press("ArrowUp", "ArrowUp");
  assert.match((await focused()).name, /Second/);
  assert.ok((await focused()).ring);
  await press("Delete");
  assert.equal((await focused()).name, "Delete");
  await press("Enter", "Enter");
  await kay.sees("Message deleted");
  assert.equal(await kay.message("Second").count(), 0);
  await press("ArrowDown", "Enter");
  await tabTo("Copy text");
  await press("ArrowRight");
  assert.equal((await focused()).name, "Quote");
  await press("Enter");
  assert.equal((await focused()).name, "Message");
  assert.equal(await kay.page.locator(".composer textarea").inputValue(), "> Third\n");
  await kay.page.keyboard.type("Yes");
  await press("Enter");
  await kay.page.locator(".message blockquote").waitFor();
});

step("an emoji is picked from the grid with the arrows", async () => {
  await tabTo("Emoji");
  await press("Enter");
  await kay.page.locator(".emoji-panel").waitFor();
  await kay.page.waitForFunction(() => document.activeElement.classList.contains("emoji-cell"));
  await press("ArrowRight", "ArrowDown", "ArrowUp", "ArrowRight", "Enter");
  assert.equal((await focused()).name, "Message");
  assert.equal(await kay.page.locator(".composer textarea").inputValue(), "😄");
  await tabTo("Emoji");
  await press("Enter");
  await kay.page.waitForFunction(() => document.activeElement.classList.contains("emoji-cell"));
  await press("Escape");
  assert.equal((await focused()).name, "Emoji");
  await tabTo("Message", "Shift+Tab");
  await press("Enter");
  await kay.sees("😄");
});

step("the list: search, arrows, and from one conversation to the next", async () => {
  await ann.register("ann");
  await ann.begin("Chat", "kay");
  await ann.say("Hello Kay");
  await kay.row("ann").locator(".badge", { hasText: "1" }).waitFor();
  await press("Alt+Shift+ArrowDown");
  await kay.page.getByRole("heading", { name: "ann", level: 2 }).waitFor();
  await ann.message("Hello Kay").locator(".stage.read").waitFor();
  await press("Control+k");
  assert.equal((await focused()).name, "Search conversations");
  await kay.page.keyboard.type("knit");
  await press("ArrowDown");
  assert.match((await focused()).name, /Knitting/);
  assert.ok((await focused()).ring);
  await press("Enter");
  await kay.page.getByRole("heading", { name: "Knitting", level: 2 }).waitFor();
  await press("Control+k");
  await press("Control+a", "Delete");
  await press("Alt+ArrowUp");
  await kay.page.getByRole("heading", { name: "ann", level: 2 }).waitFor();
  await press("Alt+ArrowDown");
  await kay.page.getByRole("heading", { name: "Knitting", level: 2 }).waitFor();
});

step("members, settings and leaving", async () => {
  await tabTo(/1 member/, "Shift+Tab");
  await press("Enter");
  await kay.page.locator("dialog .person").first().waitFor();
  await press("Escape");
  await kay.page.locator("dialog").waitFor({ state: "detached" });
  assert.match((await focused()).name, /1 member/);
  await tabTo("Profile and settings", "Shift+Tab");
  await press("Enter");
  await kay.page.locator("dialog .settings").waitFor();
  await tabTo("System");
  await press("ArrowRight", "ArrowRight");
  assert.equal(await kay.page.evaluate(() => document.documentElement.dataset.theme), "dark");
  await press("Escape");
  await kay.page.locator("dialog").waitFor({ state: "detached" });
  await tabTo("Leave");
  await press("Enter");
  await kay.page.locator("dialog").waitFor();
  await tabTo("Leave");
  await press("Enter");
  await kay.row("Knitting").waitFor({ state: "detached" });
});

step("logging out", async () => {
  await tabTo("Log out");
  await press("Enter");
  await kay.page.locator("#entry").waitFor();
  assert.equal((await focused()).name, "Name");
});

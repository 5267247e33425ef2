// The first page in a real browser, against the real program. `npm ci && npm test`; see README.md.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { Server, Visitor, launch, sleep, steps } from "./harness.mjs";

const server = new Server();
let browser, ann, bob, guest;

before(async () => {
  await server.start();
  browser = await launch();
  ann = await Visitor.come(browser, server);
  bob = await Visitor.come(browser, server, { colorScheme: "dark" });
  guest = await Visitor.come(browser, server);
});

after(async () => {
  await browser?.close();
  await server.stop();
});

const step = steps(() => [ann, bob, guest]);

step("a wrong password is told, and an account is made in one step", async () => {
  await ann.page.goto(server.url);
  await ann.page.getByLabel("Name").fill("ann");
  await ann.page.getByLabel("Password").fill("nothing like it");
  await ann.page.locator("#entry button[type=submit]").click();
  await ann.page.locator(".error", { hasText: /./ }).waitFor();
  await ann.screenshot("entry-light");
  await ann.register("ann");
  await bob.page.goto(server.url);
  await bob.screenshot("entry-dark");
});

step("a room: one creates it, one follows the link, a guest looks in", async () => {
  await ann.begin("Room", "Tea room");
  await ann.say("Kettle's on");
  await bob.register("bob", "#room=Tea%20room");
  await bob.sees("Kettle's on");
  await bob.say("Two sugars, please");
  await ann.sees("Two sugars, please");
  await guest.enterAsGuest("wanderer", "#room=Tea%20room");
  await guest.sees("Two sugars, please");
  await guest.say("Is there a chair left?");
  await ann.sees("Is there a chair left?");
  await bob.sees("Is there a chair left?");
  await ann.page.locator(".about", { hasText: "3 here now" }).waitFor();
  assert.deepEqual(await ann.page.locator(".entries .name").allTextContents(), ["bob", "wanderer"]);
});

step("text stays text", async () => {
  const text = "<img src=x onerror=\"window.hurt=1\"> \u202Edesrever & <b>bold</b>";
  await bob.say(text);
  await ann.sees(text);
  assert.equal(await ann.page.evaluate(() => window.hurt), undefined);
  assert.equal(await ann.page.locator(".entries b, .entries img").count(), 0);
});

step("a direct chat: unread badge, typing, and stored → delivered → read", async () => {
  await ann.begin("Chat", "bob");
  await ann.say("Between us: the biscuits are gone");
  await bob.row("ann").locator(".badge", { hasText: "1" }).waitFor();
  assert.match(await bob.page.title(), /^\(1\)/);
  await ann.message("Between us: the biscuits are gone").locator(".stage.delivered").waitFor();
  await bob.open("ann");
  await bob.sees("Between us: the biscuits are gone");
  await ann.message("Between us: the biscuits are gone").locator(".stage.read").waitFor();
  assert.equal(await bob.row("ann").locator(".badge").textContent(), "");
  await ann.page.locator(".about", { hasText: "online" }).waitFor();
  await bob.page.getByLabel("Message", { exact: true }).pressSequentially("Who");
  await ann.page.locator(".typists", { hasText: "⁨bob⁩ is typing" }).waitFor();
  await bob.page.keyboard.press("Enter");
  await ann.sees("Who");
  await ann.page.waitForFunction(() => document.querySelector(".typists").textContent === "");
});

step("own messages are edited by keyboard and deleted after a second click", async () => {
  await bob.page.keyboard.press("ArrowUp");
  await bob.page.locator(".editing").waitFor();
  await bob.page.getByLabel("Message", { exact: true }).fill("Who was it?");
  await bob.page.keyboard.press("Enter");
  await ann.sees("Who was it?");
  assert.match(await ann.message("Who was it?").locator(".meta").textContent(), /edited/);
  await ann.say("Never mind");
  await bob.sees("Never mind");
  await ann.message("Never mind").hover();
  await ann.message("Never mind").getByRole("button", { name: "Delete" }).click();
  await ann.message("Never mind").getByRole("button", { name: "Delete" }).click();
  await ann.sees("Message deleted");
  await bob.sees("Message deleted");
  assert.equal(await bob.message("Never mind").count(), 0);
});

step("a group: created, joined by its link, listed with its members", async () => {
  await ann.begin("New group", "Biscuit committee");
  await ann.say("First item: shortbread");
  const hash = await ann.page.evaluate(() => location.hash);
  await bob.page.evaluate((hash) => (location.hash = hash), hash);
  await bob.page.getByRole("button", { name: "Join the group" }).click();
  await bob.sees("First item: shortbread");
  await ann.page.locator(".about", { hasText: "2 members" }).click();
  await ann.page.locator("dialog .person", { hasText: "bob" }).waitFor();
  await ann.page.keyboard.press("Escape");
  await bob.say("Seconded");
  await ann.sees("Seconded");
});

step("the limit of a message is counted, and Shift+Enter makes a line", async () => {
  const input = ann.page.getByLabel("Message", { exact: true });
  await input.evaluate((node) => {
    node.value = "🍪".repeat(4097);
    node.dispatchEvent(new Event("input"));
  });
  await ann.page.locator(".counter.over", { hasText: "-1" }).waitFor();
  assert.equal(await ann.page.getByRole("button", { name: "Send" }).isDisabled(), true);
  await input.fill("");
  await input.pressSequentially("one");
  await ann.page.keyboard.press("Shift+Enter");
  await input.pressSequentially("two");
  await ann.page.keyboard.press("Enter");
  await bob.sees("one\ntwo");
});

step("history loads on scrolling up and nothing jumps", async () => {
  await ann.open("Tea room");
  await ann.page.evaluate(async (count) => {
    const { token } = JSON.parse(localStorage.getItem("chinwag.session"));
    const { MessageIds } = await import("/web/ids.js");
    const ids = new MessageIds(Date.now);
    const socket = new WebSocket(`ws://${location.host}/ws`, "chinwag.v1");
    const waiting = new Map();
    let next = 0;
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      waiting.get(frame.id)?.(frame.result);
    };
    await new Promise((resolve) => (socket.onopen = resolve));
    const ask = (type, fields) => new Promise((resolve) => {
      const id = `fill-${next++}`;
      waiting.set(id, resolve);
      socket.send(JSON.stringify({ id, type, ...fields }));
    });
    await ask("hello", { protocol: 1, token });
    const { conversation } = await ask("room.listen", { name: "Tea room" });
    const sends = [];
    for (let at = 1; at <= count; at += 1) {
      sends.push(ask("send", { conversation: conversation.id, message_id: ids.next(), content: `Cup ${at}${at % 7 ? "" : "\nwith a second line"}` }));
    }
    await Promise.all(sends);
    socket.close();
  }, 260);
  await ann.sees("Cup 260");
  await ann.page.reload();
  await ann.online();
  await ann.sees("Cup 260");
  const jump = await ann.page.evaluate(async () => {
    const scroller = document.querySelector(".scroller");
    // After what it shows, not amid its making: only that is seen.
    const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    let worst = 0;
    const texts = () => [...document.querySelectorAll(".entries .message .text")].map((node) => node.textContent);
    const seen = new Set(texts());
    for (let step = 0; step < 2000 && !(texts()[0] === "Kettle's on" && scroller.scrollTop === 0); step += 1) {
      scroller.scrollTop = Math.max(0, scroller.scrollTop - 90);
      const top = scroller.getBoundingClientRect().top;
      const node = [...document.querySelectorAll(".entries .message")].find((node) => node.getBoundingClientRect().bottom > top + 1);
      const before = node.getBoundingClientRect().bottom;
      await frame();
      await frame();
      worst = Math.max(worst, Math.abs(node.getBoundingClientRect().bottom - before));
      for (const text of texts()) seen.add(text);
    }
    return { worst, older: document.querySelector(".older").textContent, first: texts()[0], seen: [...seen] };
  });
  assert.deepEqual(jump.first, "Kettle's on");
  assert.equal(jump.older, "This is the beginning.");
  assert.ok(jump.worst <= 1.5, `a message on the screen moved by ${jump.worst} px`);
  const cups = jump.seen.filter((text) => text.startsWith("Cup ")).map((text) => Number.parseInt(text.slice(4), 10));
  assert.deepEqual(cups.sort((a, b) => a - b), Array.from({ length: 260 }, (_, at) => at + 1));
});

step("a reload comes back to the same conversation, with everything said meanwhile", async () => {
  await bob.open("ann");
  await ann.open("bob");
  const gone = bob.page.goto("about:blank");
  await gone;
  await ann.say("While you were out");
  await ann.message("While you were out").locator(".stage").waitFor();
  await bob.page.goBack();
  await bob.online();
  await bob.page.getByRole("heading", { name: "ann", level: 2 }).waitFor();
  await bob.sees("While you were out");
  await bob.sees("Who was it?");
  await ann.message("While you were out").locator(".stage.read").waitFor();
});

step("what is written while the server is dead arrives once, in order", async () => {
  await server.kill();
  await ann.say("Hello? Anyone?");
  await ann.say("It went quiet");
  await ann.page.locator("#status", { hasText: "2 messages waiting" }).waitFor();
  await ann.message("It went quiet").locator(".stage.sending").waitFor();
  await ann.screenshot("reconnecting-light");
  await server.start();
  for (const visitor of [ann, bob]) await visitor.hurry();
  await Promise.all([ann.online(), bob.online()]);
  await bob.sees("It went quiet");
  await ann.message("It went quiet").locator(".stage:not(.sending)").waitFor();
  assert.equal(await ann.page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("chinwag.outbox.")).length), 0);
  for (const visitor of [ann, bob]) {
    const texts = await visitor.page.locator(".entries .text").allTextContents();
    assert.deepEqual(texts.filter((text) => /Anyone|quiet/.test(text)), ["Hello? Anyone?", "It went quiet"]);
  }
});

step("a kill at the moment of sending, five times, neither loses nor repeats", async () => {
  const everybody = [ann, bob, guest];
  for (let round = 1; round <= 5; round += 1) {
    await guest.say(`Knock ${round}`);
    await ann.say(`Round ${round}`);
    await sleep((round - 1) * 3);
    await server.kill();
    await server.start();
    for (const visitor of everybody) await visitor.hurry();
    await Promise.all(everybody.map((visitor) => visitor.online()));
    await bob.sees(`Round ${round}`);
  }
  for (const visitor of [ann, guest]) await visitor.page.waitForFunction(() => document.querySelectorAll(".stage.sending").length === 0);
  await bob.page.reload();
  await bob.online();
  await bob.sees("Round 5");
  for (const visitor of [ann, bob]) {
    const texts = await visitor.page.locator(".entries .text").allTextContents();
    assert.deepEqual(texts.filter((text) => text.startsWith("Round")), [1, 2, 3, 4, 5].map((round) => `Round ${round}`));
  }
  // A guest is another user after every reconnect, so that only the replay can tell what got through.
  await bob.open("Tea room");
  await bob.sees("Knock 5");
  for (const visitor of [bob, guest]) {
    const texts = await visitor.page.locator(".entries .text").allTextContents();
    assert.deepEqual(texts.filter((text) => text.startsWith("Knock")), [1, 2, 3, 4, 5].map((round) => `Knock ${round}`));
  }
  await bob.open("ann");
});

step("a tab closed with an unsent message sends it when it is opened again", async () => {
  await server.kill();
  await ann.say("From a closed tab");
  await ann.page.locator("#status", { hasText: "1 message waiting" }).waitFor();
  await ann.page.goto("about:blank");
  await server.start();
  await ann.page.goto(server.url);
  await bob.online();
  await bob.sees("From a closed tab");
  await ann.online();
  await sleep(500);
  assert.equal(await bob.message("From a closed tab").count(), 1);
});

step("two tabs of one user agree", async () => {
  const other = await ann.context.newPage();
  await other.goto(server.url);
  await other.locator("#side .row", { hasText: "bob" }).click();
  await other.locator(".message.own .text", { hasText: "From a closed tab" }).waitFor();
  await ann.open("bob");
  await ann.say("Said in one tab");
  await other.locator(".message.own .text", { hasText: "Said in one tab" }).waitFor();
  await bob.say("Heard in both");
  await other.locator(".text", { hasText: "Heard in both" }).waitFor();
  await ann.sees("Heard in both");
  await other.close();
});

step("a drained server is left and found again", async () => {
  await ann.open("bob");
  await server.drain();
  await server.start();
  await Promise.all([ann.online(), bob.online()]);
  await ann.say("Back after the drain");
  await bob.sees("Back after the drain");
});

step("screenshots", async () => {
  await ann.open("Biscuit committee");
  await ann.say("Second item: who ate them. Everybody who was near the tin after four o'clock, please say so here — no questions asked.");
  await bob.open("Biscuit committee");
  await bob.sees("one\ntwo");
  await bob.say("It wasn't me");
  await bob.say("مرحبا! לא אני 🙂");
  await ann.sees("It wasn't me");
  await ann.screenshot("group-light");
  await bob.screenshot("group-dark");
  await ann.open("bob");
  await bob.open("ann");
  await ann.screenshot("chat-light");
  await bob.screenshot("chat-dark");
  await ann.open("Tea room");
  await ann.screenshot("room-light");
  await ann.page.getByRole("button", { name: "New conversation" }).click();
  await ann.screenshot("new-light");
  await ann.page.keyboard.press("Escape");
  await ann.page.locator(".about").click();
  await ann.screenshot("people-light");
  await ann.page.keyboard.press("Escape");
  await guest.screenshot("guest-light");
  await bob.page.setViewportSize({ width: 390, height: 780 });
  await bob.screenshot("phone-chat-dark");
  await bob.page.locator("#thread .pane .back").click();
  await bob.page.locator("#side").waitFor();
  await bob.screenshot("phone-list-dark");
  await ann.page.setViewportSize({ width: 390, height: 780 });
  await ann.screenshot("phone-room-light");
  const wide = await ann.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `the page is ${wide} px too wide`);
});

step("logging out ends it here, and logging in brings everything back", async () => {
  await ann.page.setViewportSize({ width: 1180, height: 760 });
  await ann.page.getByRole("button", { name: "Log out" }).click();
  await ann.page.getByLabel("Name").fill("ann");
  await ann.page.getByLabel("Password").fill("correct horse");
  await ann.page.locator("#entry button[type=submit]").click();
  await ann.online();
  await ann.open("bob");
  await ann.sees("Back after the drain");
});

step("a token that isn't taken any more is changed without anyone noticing", async () => {
  await ann.page.evaluate(() => {
    const session = JSON.parse(localStorage.getItem("chinwag.session"));
    localStorage.setItem("chinwag.session", JSON.stringify({ ...session, token: "worn.out.token" }));
  });
  await ann.page.reload();
  await ann.online();
  const session = await ann.page.evaluate(() => JSON.parse(localStorage.getItem("chinwag.session")));
  assert.notEqual(session.token, "worn.out.token");
  await ann.say("Still here");
  await ann.message("Still here").locator(".stage:not(.sending)").waitFor();
});

step("a session that was ended elsewhere ends here, and says so", async () => {
  await ann.page.evaluate(async () => {
    const { token } = JSON.parse(localStorage.getItem("chinwag.session"));
    await fetch("/api/auth/logout", { method: "POST", headers: { authorization: `Bearer ${token}` } });
  });
  await ann.page.locator("#entry .error", { hasText: /log/ }).waitFor();
  assert.equal(await ann.page.evaluate(() => localStorage.getItem("chinwag.session")), null);
});

step("a server without guests says so", async () => {
  await server.kill();
  server.settings = { CHINWAG_GUESTS: "off" };
  await server.start();
  await ann.page.reload();
  await ann.page.getByRole("button", { name: "Guest", exact: true }).click();
  await ann.page.getByLabel("Name").fill("passerby");
  await ann.page.getByRole("button", { name: "Enter as guest" }).click();
  await ann.page.locator("#entry .error", { hasText: /./ }).waitFor();
  await ann.page.getByRole("button", { name: "Enter as guest" }).waitFor();
});

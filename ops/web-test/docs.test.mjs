// The pages under /docs, and the client in 30 lines: as a module of somebody's own page, and in the form that tries it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { seriousDefects } from "./axe.mjs";
import { Server, Visitor, launch } from "./harness.mjs";

const LOOKS = { light: { colorScheme: "light" }, "phone-dark": { viewport: { width: 360, height: 740 }, isMobile: true, colorScheme: "dark" } };
const server = new Server();
let browser;

before(async () => {
  await server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server.stop();
});

test("the pages show what is there, and nothing serious is wrong with them", async () => {
  for (const [name, options] of Object.entries(LOOKS)) {
    const visitor = await Visitor.come(browser, server, options);
    for (const path of ["/docs", "/docs/client"]) {
      await visitor.page.goto(server.url + path);
      await visitor.screenshot(`${path.slice(1).replace("/", "-")}-${name}`);
      assert.deepEqual(await seriousDefects(visitor.page), [], `${path} ${name}`);
      const wide = await visitor.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${path} ${name} is ${wide} px too wide`);
    }
    assert.deepEqual(visitor.defects, []);
    await visitor.context.close();
  }
});

test("the client talks: accounts and guests, errors, a repeated message, a connection that is lost", async () => {
  const visitor = await Visitor.come(browser, server);
  await visitor.page.goto(`${server.url}/docs/client`);
  const seen = await visitor.page.evaluate(async () => {
    const { Client, uuid7 } = await import("/docs/client.js");
    const url = `ws://${location.host}/ws`;
    const post = async (path, body) => (await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })).json();
    const ann = { username: "ann", password: "correct horse" };
    await post("/api/auth/register", ann);
    const { token } = await post("/api/auth/login", ann);
    const heard = [];
    let hear;
    const twice = new Promise((resolve) => (hear = resolve));
    const writer = await Client.open(url, { token }, () => {});
    const { conversation } = await writer.ask("room.create", { name: "Tea room" });
    const guest = await Client.open(url, { guest: "robin" }, (event) => {
      if (event.event === "message" && heard.push(`${event.sender.name}: ${event.content}`) === 2) hear();
    });
    await guest.ask("room.listen", { name: "Tea room" });
    const id = uuid7();
    const first = await writer.send(conversation.id, "Is there any left?", id);
    const again = await writer.send(conversation.id, "Is there any left?", id);
    const late = await writer.send(conversation.id, "Never mind");
    await twice;
    const error = await writer.send(conversation.id, "").catch(({ code, field }) => ({ code, field }));
    const refused = await Client.open(url, { token: "worn.out.token" }, () => {}).catch(({ code }) => code);
    const nobody = await Client.open("ws://127.0.0.1:1/ws", { token }, () => {}).catch(({ message }) => message);
    // What is unanswered when the connection is lost is told so, and so is whatever comes after.
    let lost;
    const closed = new Promise((resolve) => (lost = resolve));
    const other = await Client.open(url, { guest: "wren" }, () => {}, lost);
    const unanswered = other.ask("rooms").catch(({ message }) => message);
    other.socket.close();
    const answers = [await unanswered, await closed, await other.ask("ping").catch(({ message }) => message)];
    return { heard, first, again, late, error, refused, nobody, answers, id, welcome: writer.welcome.user.name };
  });
  assert.deepEqual(seen.heard, ["ann: Is there any left?", "ann: Never mind"]);
  assert.match(seen.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual([seen.first.duplicate, seen.again.duplicate, seen.again.seq], [false, true, seen.first.seq]);
  assert.equal(seen.late.seq, seen.first.seq + 1);
  assert.deepEqual(seen.error, { code: "bad_request", field: "content" });
  assert.equal(seen.refused, "unauthorized");
  assert.equal(seen.nobody, "there is no connection");
  assert.deepEqual(seen.answers, ["the connection was closed (1005)", 1005, "there is no connection"]);
  assert.equal(seen.welcome, "ann");
  assert.deepEqual(visitor.defects, []);
});

test("the form of the page chats", async () => {
  const people = [await Visitor.come(browser, server), await Visitor.come(browser, server)];
  const say = async ({ page }, name, password, text) => {
    await page.getByLabel("Name").fill(name);
    await page.getByLabel("Password").fill(password);
    await page.getByLabel("Room").fill("Garden");
    await page.getByLabel("Message", { exact: true }).fill(text);
    await page.getByRole("button", { name: "Send" }).click();
  };
  const [owner, guest] = people;
  for (const { page } of people) await page.goto(`${server.url}/docs/client`);
  await say(guest, "robin", "", "Anybody?");
  await guest.page.locator("#status", { hasText: /\S/ }).waitFor();
  await say(owner, "bob", "correct horse", "Welcome");
  await owner.page.locator("#log li", { hasText: "bob Welcome" }).waitFor();
  await say(guest, "robin", "", "<i>Thanks</i>");
  for (const { page } of people) await page.locator("#log li", { hasText: "robin <i>Thanks</i>" }).waitFor();
  assert.equal(await owner.page.locator("#log i").count(), 0);
  await server.kill();
  await owner.page.locator("#status", { hasText: "closed" }).waitFor();
  for (const { defects } of people) assert.deepEqual(defects, []);
});

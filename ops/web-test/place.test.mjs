// The list of messages by itself, in a page's layout: where it is scrolled to while it changes in the same frame. That can't be timed
// with messages of a server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, Visitor, launch } from "./harness.mjs";

const server = new Server();
let browser, visitor;

before(async () => {
  await server.start();
  browser = await launch();
  visitor = await Visitor.come(browser, server);
  await visitor.page.goto(server.url);
  await visitor.page.evaluate(async () => {
    const { VirtualLog } = await import("/web/view-log.js");
    window.room = { frames: async (count) => {
      for (; count > 0; count -= 1) await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    } };
    /** A list at its end, of rows as high as those of a talk. */
    room.begin = async (count) => {
      const scroller = document.createElement("div");
      const list = document.createElement("div");
      scroller.style.cssText = "position: fixed; inset: 0; height: 500px; overflow-y: auto; overflow-anchor: none; z-index: 9; background: white";
      const make = ({ key, height }) => {
        const node = document.createElement("p");
        node.style.cssText = `height: ${height}px; margin: 0`;
        node.textContent = key;
        return node;
      };
      const update = (node, { height }) => (node.style.height = `${height}px`);
      scroller.append(list);
      document.querySelector(".scroller.tried")?.remove();
      scroller.className = "scroller tried";
      document.body.append(scroller);
      let made = 0;
      const item = () => ({ key: `item ${made++}`, height: 30.4 + (made % 3) * 11 });
      let items = Array.from({ length: count }, item);
      const told = [];
      const log = new VirtualLog(scroller, list, { make, update, moved: () => told.push(log.atEnd), older: () => {}, newer: () => {}, removing: () => {} });
      log.open(items);
      await room.frames(30);
      return {
        scroller, list, log, told,
        /** Somebody writes. */
        said: (count = 1) => log.show((items = [...items, ...Array.from({ length: count }, item)])),
        /** What is above the screen changes its height, as names and edits do. */
        grew: () => log.show((items = items.map((one, index) => (index < items.length - 20 ? { ...one, height: one.height + 2 } : one)))),
        /** Where the rows on the screen are. */
        places: () => {
          const { top, bottom } = scroller.getBoundingClientRect();
          const shown = [...list.children].map((node) => ({ key: node.textContent, box: node.getBoundingClientRect() }));
          return new Map(shown.filter(({ box }) => box.bottom > top && box.top < bottom).map(({ key, box }) => [key, box.top]));
        },
        below: () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight,
      };
    };
    /** By how much what was on the screen has moved, pixels. */
    room.moved = (before, after) => Math.max(...[...before].map(([key, top]) => Math.abs((after.get(key) ?? Infinity) - top)));
  });
});

after(async () => {
  await browser?.close();
  await server.stop();
});

const changes = { "a message comes": ["said", 1], "many messages come": ["said", 100], "what is above grows": ["grew", 0] };
for (const [what, change] of Object.entries(changes)) {
  for (const order of ["before", "after"]) {
    test(`one who leaves the end just ${order} ${what} stays there`, async () => {
      const found = await visitor.page.evaluate(async ({ change: [name, count], order }) => {
        const tried = await room.begin(400);
        const shown = tried.places();
        if (order === "after") tried[name](count);
        tried.scroller.scrollTop -= 90;
        if (order === "before") tried[name](count);
        await room.frames(5);
        const after = tried.places();
        const kept = new Map([...shown].filter(([key]) => after.has(key)).map(([key, top]) => [key, top + 90]));
        return { moved: room.moved(kept, after), kept: kept.size, atEnd: tried.log.atEnd, told: tried.told };
      }, { change, order });
      assert.ok(found.kept > 5, `only ${found.kept} rows are left on the screen`);
      assert.ok(found.moved <= 1.5, `a row moved by ${found.moved} px`);
      assert.equal(found.atEnd, false);
      assert.deepEqual(found.told, [false]);
    });
  }
}

test("the end stays on the screen, whatever comes and whatever room there is", async () => {
  const found = await visitor.page.evaluate(async () => {
    const tried = await room.begin(400);
    const below = [];
    for (let round = 0; round < 60; round += 1) {
      // The composer grows and shrinks, and something asks for a layout between.
      if (round % 3 === 0) tried.scroller.style.height = `${round % 2 === 0 ? 420 : 500}px`;
      if (round % 2 === 0) tried.below();
      tried.said(round % 5 === 0 ? 12 : 1);
      if (round % 4 === 0) tried.grew();
      if (round % 7 === 0) tried.said(2);
      await room.frames(1 + (round % 2));
      below.push(tried.below());
    }
    return { below: Math.max(...below), told: tried.told, nodes: tried.list.children.length };
  });
  assert.ok(found.below <= 1.5, `${found.below} px are below the screen`);
  assert.deepEqual(found.told, []);
  assert.ok(found.nodes <= 260, `${found.nodes} nodes`);
});

// The operators' console: addresses, and names that are typed to confirm.

import assert from "node:assert/strict";
import { test } from "node:test";
import { routeOf, sameText } from "../../console/format.js";

const views = { overview: {}, sockets: {} };

test("an address names a view and what it shows; whatever else it says leads to the overview", () => {
  assert.deepEqual(routeOf("#sockets/a%20b/c", views), { view: "sockets", rest: "a b/c" });
  assert.deepEqual(routeOf("", views), { view: "overview", rest: "" });
  for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty", "nowhere"]) assert.equal(routeOf(`#${name}`, views).view, "overview");
  assert.deepEqual(routeOf("#sockets/%E0%A4%A", views), { view: "sockets", rest: "%E0%A4%A" });
});

test("a name is confirmed as it looks: blanks count once, whatever they are", () => {
  for (const name of ["tea\u00a0room", "tea  room", "tea\nroom", " tea room ", "tea\u2003room"]) assert.ok(sameText("tea room", name), JSON.stringify(name));
  for (const name of ["tearoom", "Tea room", "tea room 2", ""]) assert.ok(!sameText("tea room", name), JSON.stringify(name));
});

// Addresses and links.

import assert from "node:assert/strict";
import { test } from "node:test";
import { addressOf, groupOf, leadsTo, parse } from "../route.js";

test("the address of a conversation leads to it, whatever it is called", () => {
  for (const name of ["Tea room", "a=b#c&d%", "غرفة", "100%"]) {
    for (const kind of ["room", "direct"]) {
      const conversation = { id: "17", kind, name };
      assert.ok(leadsTo(parse(`#${addressOf(conversation)}`), conversation), name);
    }
  }
  assert.ok(leadsTo(parse(`#${addressOf({ id: "17", kind: "group", name: "x" })}`), { id: "17", kind: "group", name: "x" }));
});

test("an address that says nothing opens nothing", () => {
  for (const hash of ["", "#", "#room", "#room=", "#group=abc", "#group=1e5", "#javascript=1", "#constructor=x", `#group=${"9".repeat(21)}`]) {
    assert.deepEqual(parse(hash), { kind: "", what: "" }, hash);
  }
  assert.equal(parse("#room=%E0%A4%A").what, "%E0%A4%A");
});

test("a group is found by its link, its address and its number", () => {
  for (const text of ["https://chat.example/#group=735", "#group=735", "group=735", " 735 "]) assert.equal(groupOf(text), "735", text);
  for (const text of ["", "tea", "#room=735", "https://chat.example/735x"]) assert.equal(groupOf(text), null, text);
});

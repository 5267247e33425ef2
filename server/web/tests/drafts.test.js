// What one is writing: kept for a reload, and for nobody else.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Drafts } from "../view-composer.js";

const kept = new Map();
globalThis.sessionStorage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value), removeItem: (key) => void kept.delete(key) };

const begun = (owner) => {
  const drafts = new Drafts();
  drafts.begin(owner);
  return drafts;
};

test("drafts are there after a reload", () => {
  const drafts = begun("ann");
  drafts.set("1", "half a");
  drafts.set("2", "gone");
  drafts.set("2", "");
  const again = begun("ann");
  assert.deepEqual([again.get("1"), again.get("2")], ["half a", ""]);
});

test("who comes next in the same tab sees none of them", () => {
  const drafts = begun("ann");
  drafts.set("1", "secret");
  drafts.forget();
  assert.deepEqual([drafts.get("1"), kept.size], ["", 0]);
  drafts.begin("bob");
  assert.equal(drafts.get("1"), "");
  // The tab was closed before the log-out, and is opened again.
  begun("ann").set("1", "secret");
  assert.equal(begun("bob").get("1"), "");
  assert.equal(begun("ann").get("1"), "", "it isn't kept for a change of users, either");
});

test("nonsense in the storage is no draft, and there are not too many", () => {
  for (const text of ["{", "null", "[[\"1\",\"old\"]]", "{\"owner\":\"ann\",\"drafts\":[[1,2]]}", "{\"owner\":\"ann\"}"]) {
    kept.set("chinwag.drafts", text);
    assert.equal(begun("ann").get("1"), "");
  }
  const drafts = begun("ann");
  for (let at = 0; at < 51; at += 1) drafts.set(String(at), "x");
  assert.deepEqual([drafts.get("0"), drafts.get("1"), drafts.get("50")], ["", "x", "x"]);
});

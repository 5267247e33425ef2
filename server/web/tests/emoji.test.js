// Shortcodes, and where the arrow keys lead in the grid.

import assert from "node:assert/strict";
import { test } from "node:test";
import { expand, groups, vertical } from "../emoji.js";

test("every emoji has one code, and none comes twice", () => {
  const all = groups.flatMap(({ emoji }) => emoji);
  assert.ok(all.length >= 150, String(all.length));
  assert.equal(new Set(all.map(({ code }) => code)).size, all.length);
  assert.equal(new Set(all.map(({ char }) => char)).size, all.length);
  for (const { char, code } of all) {
    assert.match(code, /^[a-z0-9_+-]+$/);
    assert.match(char, /^\p{Extended_Pictographic}(?:\uFE0F|\u200D\p{Extended_Pictographic})*$/u, code);
    assert.equal(expand(`:${code}:`), char);
  }
});

test("codes become emoji where they stand by themselves", () => {
  assert.equal(expand("tea :tea::cookie: yes:"), "tea 🍵🍪 yes:");
  assert.equal(expand(":thumbsup: (:wave:)"), "👍 (👋)");
});

test("times, addresses, code and unknown names stay as they are", () => {
  for (const text of ["12:100:30", "https://example.org/:x:/", "`:tea:`", "```\n:tea:\n```", ":nothing_like_it:", "a:tea:b", "::", ":tea", "std::x::y"]) assert.equal(expand(text), text);
});

test("hostile text is expanded fast", () => {
  for (const unit of [":", ":a", "`", "```", "`:a", ":x: "]) {
    const text = unit.repeat(4096 / unit.length);
    const before = process.cpuUsage();
    expand(text);
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 200_000, `${JSON.stringify(unit)}: ${(user + system) / 1000} ms`);
  }
});

test("up and down stay in the column, across groups", () => {
  const sizes = [10, 3, 8];
  assert.deepEqual([0, 3, 7, 9, 10, 12, 13].map((at) => vertical(sizes, at, 1)), [8, 9, 9, 11, 13, 15, 13]);
  assert.deepEqual([0, 8, 9, 10, 12, 20].map((at) => vertical(sizes, at, -1)), [0, 0, 1, 8, 9, 12]);
});

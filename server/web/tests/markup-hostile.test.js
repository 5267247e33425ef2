// Code between backticks: what is taken off its ends, and at what cost.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parse } from "../markup.js";

const code = (text) => [{ tag: "code", children: [text] }];

test("one blank on each side goes, if there is anything else", () => {
  for (const [written, shown] of [["` a `", "a"], ["`  a  `", " a "], ["` a`", " a"], ["`a `", "a "], ["`  `", "  "], ["` `", " "], ["` \n `", "\n"]]) {
    assert.deepEqual(parse(written), code(shown), JSON.stringify(written));
  }
});

test("long code takes no longer than it is long", () => {
  const length = 65_536;
  for (const unit of ["a", " ", "a ", " a", "\n", "\ta "]) {
    for (const end of ["", " ", "a"]) {
      const text = `\` ${unit.repeat(length / unit.length)}${end}\``;
      const before = process.cpuUsage();
      parse(text);
      const { user, system } = process.cpuUsage(before);
      assert.ok(user + system < 700_000, `${JSON.stringify([unit, end])}: ${(user + system) / 1000} ms`);
    }
  }
});

// Close codes: native.md, section 8.

import assert from "node:assert/strict";
import { test } from "node:test";
import { afterClose, backoff } from "../reconnect.js";

const middle = () => 0.5;

test("codes that say so are followed at once, but not in a loop", () => {
  for (const code of [1001, 4001, 4002, 4042]) {
    assert.ok(afterClose(code, 0, middle).wait_ms < 300, String(code));
    assert.ok(afterClose(code, 3, middle).wait_ms > 1000, String(code));
  }
});

test("overload waits 5 to 30 s", () => {
  for (const code of [4100, 4101, 4102, 4199]) {
    assert.equal(afterClose(code, 0, () => 0).wait_ms, 5000);
    assert.equal(afterClose(code, 9, () => 1).wait_ms, 30_000);
  }
});

test("a lost network and defects back off", () => {
  for (const code of [1006, 1011, 1009, 1008, 1002]) assert.equal(afterClose(code, 0, () => 1).wait_ms, 1000);
  const waits = [0, 1, 2, 3, 4, 5, 6, 50].map((failures) => backoff(failures, () => 1));
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(backoff(3, () => 0), 4000);
});

test("what needs a change isn't tried again without one", () => {
  const told = [4200, 4201, 4202, 4203, 4299].map((code) => afterClose(code, 0).do);
  assert.deepEqual(told, ["refresh", "refresh", "login", "outdated", "stop"]);
});

// Sessions over HTTP: a server that doesn't answer, and a browser that keeps nothing.

import assert from "node:assert/strict";
import { test } from "node:test";

const forbidden = { configurable: true, get() {
  throw new DOMException("Access is denied for this document.", "SecurityError");
} };
for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(globalThis, name, forbidden);
globalThis.navigator ??= {};
const { Account, Guest, RestError } = await import("../rest.js");

const answer = (fields, status = 200) => new Response(JSON.stringify(fields), { status });
const session = { username: "ann", token: "t", refresh_token: "r", expires_in: 3600 };

test("without storage there is nobody to remember, and one can log in and out all the same", async (context) => {
  assert.deepEqual([Account.remembered(), Guest.remembered()], [null, null]);
  context.mock.method(globalThis, "fetch", async () => answer(session));
  const ann = await Account.login("ann", "secret");
  assert.deepEqual(await ann.credentials(), { token: "t" });
  await ann.refresh();
  await ann.logout();
  const guest = new Guest("bob");
  guest.remember();
  guest.forget();
});

test("a request that isn't answered ends, so that other tabs get their turn", async (context) => {
  context.mock.method(globalThis, "fetch", async () => answer(session));
  const ann = await Account.login("ann", "secret");
  const over = new AbortController();
  const waits = context.mock.method(AbortSignal, "timeout", () => over.signal);
  context.mock.method(globalThis, "fetch", (_path, { signal }) => new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  }));
  const refreshed = assert.rejects(ann.refresh(), (error) => error instanceof RestError && error.status === 0 && error.code === "unreachable");
  over.abort(new DOMException("", "TimeoutError"));
  await refreshed;
  assert.deepEqual(waits.mock.calls.map(({ arguments: [ms] }) => ms), [15_000]);
});

test("an answer that breaks off is none", async (context) => {
  context.mock.method(globalThis, "fetch", async () => new Response("{\"token\":"));
  await assert.rejects(Account.login("ann", "secret"), { code: "unreachable", status: 0 });
  context.mock.method(globalThis, "fetch", async () => new Response("<html>", { status: 502 }));
  await assert.rejects(Account.login("ann", "secret"), { status: 502 });
});

// What people are told when something went wrong.

import assert from "node:assert/strict";
import { test } from "node:test";
import { explain } from "../errors.js";
import { RequestError } from "../link.js";
import { RestError } from "../rest.js";

test("a reason that the page knows is said in its words, with the limit", () => {
  assert.equal(explain(new RestError(400, "…", "bad_request", { field: "password", limit: 6 })), "The password needs at least 6 characters");
  assert.equal(explain(new RestError(409, "…", "already_exists", { field: "username" })), "This name is taken");
  assert.equal(explain(new RequestError({ code: "rate_limited", message: "…", retryable: true })), "Too fast; please wait a moment");
});

test("a reason that only the server knows is said in its words", () => {
  assert.equal(explain(new RequestError({ code: "spam", message: "Too many links", retryable: false })), "Too many links");
  assert.equal(explain(new RestError(400, "Letters only", "bad_request", { field: "username" })), "Letters only");
  assert.equal(explain(new RestError(418, "I'm a teapot", "constructor")), "I'm a teapot");
});

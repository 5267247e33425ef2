// The message files have the same keys, every key that the page asks for exists, and what is filled in is filled in for the language.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { afterEach, test } from "node:test";
import { direction, formatAgo, formatBrief, formatDay, formatNumber, language, languages, plural, preferred, setLanguage, t } from "../i18n.js";
import ar from "../messages/ar.js";
import de from "../messages/de.js";
import en from "../messages/en.js";

const folder = new URL("../", import.meta.url);
const FORM = /\.(zero|one|two|few|many|other)$/;
const plurals = new Set(Object.keys(en).filter((key) => key.endsWith(".one") && en[key.replace(".one", ".other")] !== undefined).map((key) => key.slice(0, -4)));
const isPlural = (key) => plurals.has(key.replace(FORM, ""));
const places = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1]).sort();

afterEach(() => setLanguage("en"));

for (const [code, messages] of Object.entries({ en, de, ar })) {
  const forms = new Intl.PluralRules(code).resolvedOptions().pluralCategories;

  test(`${code} has every text, in every form that its plurals have`, () => {
    const wanted = Object.keys(en).filter((key) => !isPlural(key));
    for (const key of plurals) for (const form of forms) wanted.push(`${key}.${form}`);
    assert.deepEqual(Object.keys(messages).filter((key) => messages[key].trim() !== "").sort(), wanted.sort());
  });

  test(`${code} fills in what English fills in`, () => {
    for (const [key, text] of Object.entries(messages)) {
      const expected = isPlural(key) ? places(en[key.replace(FORM, ".other")]) : places(en[key]);
      // "One message" may do without the digit.
      const optional = isPlural(key) && /\.(zero|one|two)$/.test(key);
      const missing = expected.filter((name) => !places(text).includes(name) && !(optional && name === "count"));
      assert.deepEqual(missing, [], key);
      assert.deepEqual(places(text).filter((name) => !expected.includes(name)), [], key);
    }
  });
}

test("every key that the page asks for exists", () => {
  let asked = 0;
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".js"))) {
    const source = readFileSync(new URL(file, folder), "utf8");
    for (const [, call, key] of source.matchAll(/\b(t|plural)\(\s*"([^"]+)"/g)) {
      asked += 1;
      assert.ok(call === "plural" ? plurals.has(key) : en[key] !== undefined, `${file} asks for ${key}`);
    }
  }
  assert.ok(asked > 100, `only ${asked} found`);
});

test("a key without a text is shown itself", () => {
  assert.equal(t("nothing.like.it"), "nothing.like.it");
  assert.equal(plural("nothing.like.it", 2), "nothing.like.it");
});

test("what people wrote is isolated, so that its direction stays its own", () => {
  assert.equal(t("thread.joined", { name: "שלום" }), "\u2068שלום\u2069 joined");
  assert.equal(t("thread.joined", { name: "{name} $& \\1" }), "\u2068{name} $& \\1\u2069 joined");
  assert.equal(t("thread.joined", {}), "{name} joined");
});

test("counts have the form of their language", async () => {
  assert.deepEqual([1, 2, 1234].map((count) => plural("thread.members", count)), ["1 member", "2 members", "1,234 members"]);
  await setLanguage("de");
  assert.deepEqual([1, 1234].map((count) => plural("thread.members", count)), ["1 Mitglied", "1.234 Mitglieder"]);
  await setLanguage("ar");
  assert.deepEqual([0, 1, 2].map((count) => plural("thread.members", count)), [0, 1, 2].map((at) => ar[`thread.members.${["zero", "one", "two"][at]}`]));
  assert.deepEqual([3, 11].map((count) => plural("thread.members", count)), [`${formatNumber(3)} أعضاء`, `${formatNumber(11)} عضوًا`]);
});

test("the language is the chosen one, or the first of the browser's that there is", async () => {
  assert.equal(preferred(["fr-CA", "de-AT", "en"]), "de");
  assert.equal(preferred(["fr"]), "en");
  assert.deepEqual([language(), direction()], ["en", "ltr"]);
  await setLanguage("ar");
  assert.deepEqual([language(), direction()], ["ar", "rtl"]);
  await setLanguage("tlh");
  assert.deepEqual([language(), direction()], ["en", "ltr"]);
  for (const { code } of languages) await setLanguage(code);
});

test("days and times are near or far", async () => {
  const now = new Date(2026, 10, 22, 12, 0).getTime();
  const days = (count) => now - count * 86_400_000;
  assert.deepEqual([days(0), days(1)].map((at) => formatDay(at, now)), ["Today", "Yesterday"]);
  assert.match(formatDay(days(5), now), /Tuesday/);
  assert.match(formatDay(days(400), now), /2025/);
  assert.match(formatBrief(now - 60_000, now), /11:59/);
  assert.doesNotMatch(formatBrief(days(3), now), /:/);
  assert.equal(formatAgo(now - 5 * 60_000, now), "5 minutes ago");
  assert.equal(formatAgo(now + 60_000, now), "this minute");
  await setLanguage("de");
  assert.equal(formatDay(days(1), now), "Gestern");
});

// Light markdown: what becomes what, what stays text, and that hostile text costs no more than other text.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parse, plain } from "../markup.js";

const node = (tag, ...children) => ({ tag, children });
const link = (href, text, host) => (host ? { tag: "link", href, host, children: [text] } : { tag: "link", href, children: [text] });

test("emphasis, struck text and code", () => {
  assert.deepEqual(parse("a **b** *c* _d_ ~~e~~ `f`"),
    ["a ", node("strong", "b"), " ", node("em", "c"), " ", node("em", "d"), " ", node("del", "e"), " ", node("code", "f")]);
  assert.deepEqual(parse("**all *of* it**"), [node("strong", "all ", node("em", "of"), " it")]);
  assert.deepEqual(parse("***both***"), [node("strong", node("em", "both"))]);
  assert.deepEqual(parse("*a **b***"), [node("em", "a ", node("strong", "b"))]);
  assert.deepEqual(parse("über**m**ut"), ["über", node("strong", "m"), "ut"]);
  assert.deepEqual(parse("*🙂 a*🙂"), [node("em", "🙂 a"), "🙂"]);
});

test("marks that are none stay as they were written", () => {
  for (const text of ["2*3*4", "snake_case_name", "* list", "a ** b ** c", "**open", "_open", "~~open", "`open", "****", "~a~", "¯\\_(ツ)_/¯",
    "**a\n\nb**", "*a* *", "__init__.py", ">_<", ">:(", "*", "[", "](", "[a]", "[a](b", "C:\\dir\\file"]) {
    const whole = parse(text).map((part) => (typeof part === "string" ? part : part.children.join(""))).join("");
    if (text === "*a* *") assert.deepEqual(parse(text), [node("em", "a"), " *"]);
    else assert.equal(whole, text, text);
    if (text !== "*a* *") assert.ok(parse(text).every((part) => typeof part === "string"), text);
  }
  assert.deepEqual(parse("**a *b**"), [node("strong", "a *b")]);
  assert.deepEqual(parse("*a **b*"), [node("em", "a **b")]);
  assert.deepEqual(parse("\\*not\\* \\`code\\`"), ["*not* `code`"]);
});

test("code is left alone", () => {
  assert.deepEqual(parse("`a **b** https://x.org`"), [node("code", "a **b** https://x.org")]);
  assert.deepEqual(parse("`` a ` b ``"), [node("code", "a ` b")]);
  assert.deepEqual(parse("so:\n```rust\nlet a = *b;\n\n> no quote\n```\ndone"), ["so:", node("pre", "let a = *b;\n\n> no quote"), "done"]);
  assert.deepEqual(parse("```\nnever closed"), ["```\nnever closed"]);
});

test("quotes are lines that begin with one", () => {
  assert.deepEqual(parse("> you *said*\n> this\nyes"), [node("quote", "you ", node("em", "said"), "\nthis"), "yes"]);
  assert.deepEqual(parse(">\n> a"), [node("quote", "\na")]);
});

test("addresses become links, without the sentence's punctuation", () => {
  assert.deepEqual(parse("see https://example.org/a_b_c?d=1#e, or (http://example.org/x_(y))."),
    ["see ", link("https://example.org/a_b_c?d=1#e", "https://example.org/a_b_c?d=1#e"), ", or (", link("http://example.org/x_(y)", "http://example.org/x_(y)"), ")."]);
  assert.deepEqual(parse("**https://example.org**"), [node("strong", link("https://example.org/", "https://example.org"))]);
  assert.deepEqual(parse("mailto:ann@example.org!"), [link("mailto:ann@example.org", "mailto:ann@example.org"), "!"]);
  assert.deepEqual(parse("[the kettle](https://example.org/k)"), [link("https://example.org/k", "the kettle", "example.org")]);
});

test("what isn't safe is no link", () => {
  for (const text of ["javascript:alert(1)", "[x](javascript:alert(1))", "[x](data:text/html,hi)", "[x](vbscript:x)", "[x](//example.org)", "[x](/api)",
    "https://bank.example@evil.example", "https://bank.example:443@evil.example/", "[x](https://a:b@evil.example)", "https://", "mailto:", "mailto:nobody",
    "xhttps://example.org", "[ ](https://example.org)".slice(0, 3), "file:///etc/passwd", "[x](java\nscript:alert(1))", "[x](HTTPS://user@evil.example)"]) {
    assert.ok(!JSON.stringify(parse(text)).includes("\"href\""), text);
  }
  // Names of other scripts are shown as what they are in the address.
  assert.match(parse("https://ехаmple.org")[0].href, /^https:\/\/xn--/);
  // A mark that turns text round ends an address.
  assert.equal(parse("https://example.org/\u202Egnp.exe")[0].href, "https://example.org/");
});

test("few emoji alone are shown large", () => {
  for (const text of ["🙂", "👍🏽", "❤️ 🎉 🫖", "🇩🇪", "👩‍👩‍👧"]) assert.deepEqual(parse(text), [node("jumbo", text)], text);
  for (const text of ["🙂🙂🙂🙂", "a 🙂", "12", "#", ""]) assert.ok(!JSON.stringify(parse(text)).includes("jumbo"), text);
});

test("a preview has no marks and one line", () => {
  assert.equal(plain("> **a**\nb `c`\n```\nd\n```\n[e](https://example.org)"), "a b c d e");
});

test("nothing gets lost, whatever is written", () => {
  const parts = ["*", "**", "***", "_", "~~", "`", "``", "[", "](", ")", "a", " ", "\n", "> ", "https://x.org", "🙂", "\n```\n"];
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647);
  for (let round = 0; round < 3000; round += 1) {
    const text = Array.from({ length: 1 + random() % 24 }, () => parts[random() % parts.length]).join("");
    const letters = (/** @type {string} */ all) => all.replace(/[^a🙂x]/gu, "");
    assert.equal(letters(plain(text)), letters(text), JSON.stringify(text));
  }
});

test("hostile text takes no longer than it is long", () => {
  // Sixteen times what a message may have: looking back at everything would take many seconds of the processor.
  const length = 65_536;
  for (const unit of ["*", "**", "*a ", "**a ", "_a*b ", "***a **b *c ", "`", "` ``", "`a``b```c", "[", "[a](", "[a](b ", "[[a](https://x.org", "https://", "https://a(", "mailto:a",
    "~~a ", "> ", "\n", "```\n", ">\n", "\\*", "a\n\n*b", "🙂", "🇩🇪", "\u200d", "https://a)))", "x_", "(https://x.org/((("]) {
    const text = unit.repeat(Math.ceil(length / unit.length)).slice(0, length);
    const before = process.cpuUsage();
    parse(text);
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 700_000, `${JSON.stringify(unit)}: ${(user + system) / 1000} ms`);
  }
});

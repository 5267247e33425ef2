// @ts-check
// Light markdown: what people write between themselves, as a tree and then as nodes of the page. Text stays text: nothing is ever parsed
// as HTML, and only http(s) and mailto become links.
//
//     **bold**  *italic*  _italic_  ~~struck~~  `code`  [label](https://…)  https://…  mailto:…
//     > a quote, line by line            ``` … ``` a block of code, its fences on lines of their own
//
// Each function goes over its text once, whatever is in it: `**`, `[` or a backtick without a partner costs a step and stays as it is.

/** @typedef {"strong" | "em" | "del" | "code" | "pre" | "quote" | "link" | "jumbo"} Tag */
/** @typedef {string | {tag: Tag, children: Node[], href?: string, host?: string}} Node */
/** @typedef {{tag: Tag | null, marker: string, children: Node[]}} Frame */

/** A longer address stays text. */
const URL_MAX = 2000;
/** A message of so few emoji and nothing else is shown large. */
const JUMBO = /^(?:(?:\p{Regional_Indicator}{2}|\p{Extended_Pictographic}(?:\uFE0F|\p{Emoji_Modifier}|\u200D\p{Extended_Pictographic})*) ?){1,3}$/u;
/** Whatever may begin something. */
const SPECIAL = /\n\n+|\\[*~`[\\]|\*+|~+|_+|`+|\[|https?:\/\/|mailto:/giu;
/** Marks that turn text round: they have no place in an address. */
const BIDI = "\\u061C\\u200E\\u200F\\u202A-\\u202E\\u2066-\\u2069";
const BARE = new RegExp(`[^\\s<>"\`[\\]${BIDI}]+`, "uy");
const TARGET = new RegExp(`\\(([^\\s()[\\]<>"${BIDI}]{1,${URL_MAX}})\\)`, "uy");
const TRAILING = new Set(".,;:!?'\"*_~…”’»");
const WORD = /[\p{L}\p{N}\p{M}]/u;

/** @type {{[marker: string]: Tag[]}} */
const EMPHASIS = { "*": ["em"], "**": ["strong"], "***": ["strong", "em"], _: ["em"], "~~": ["del"] };
/** @type {{[tag: string]: string}} */
const ELEMENTS = { strong: "strong", em: "em", del: "del", code: "code", quote: "blockquote", jumbo: "span" };

/**
 * Makes nodes of a text. To be put where `dir="auto"` and `white-space: pre-wrap` hold.
 * @param {string} text
 * @returns {DocumentFragment}
 */
export function render(text) {
  const fragment = document.createDocumentFragment();
  append(fragment, parse(text));
  return fragment;
}

/** Returns what is left of a text without its marks, on one line: for previews, titles and notifications. @param {string} text */
export const plain = (text) => flat(parse(text)).replace(/\s+/g, " ").trim();

/** Returns the tree of a text. @param {string} text @returns {Node[]} */
export function parse(text) {
  if (JUMBO.test(text)) return [{ tag: "jumbo", children: [text] }];
  const lines = text.split("\n");
  /** @type {Node[]} */
  const nodes = [];
  /** @type {string[]} */
  let open = [];
  const flush = () => {
    if (open.length > 0) nodes.push(...inline(open.join("\n")));
    open = [];
  };
  const lastFence = lines.findLastIndex(isFence);
  for (let at = 0; at < lines.length; at += 1) {
    if (at < lastFence && isFence(lines[at])) {
      flush();
      const from = at + 1;
      do at += 1;
      while (!isFence(lines[at]));
      nodes.push({ tag: "pre", children: [lines.slice(from, at).join("\n")] });
    } else if (isQuote(lines[at])) {
      flush();
      const from = at;
      while (at + 1 < lines.length && isQuote(lines[at + 1])) at += 1;
      nodes.push({ tag: "quote", children: inline(lines.slice(from, at + 1).map((line) => line.slice(2)).join("\n")) });
    } else {
      open.push(lines[at]);
    }
  }
  flush();
  return nodes;
}

/** @param {string} line */
const isFence = (line) => /^```[\w+#.-]{0,20}\s*$/.test(line);

/** @param {string} line */
const isQuote = (line) => line.startsWith("> ") || line === ">";

/** @param {string} text @returns {Node[]} */
function inline(text) {
  const closers = new Closers(text);
  const emphasis = new Emphasis();
  let at = 0;
  SPECIAL.lastIndex = 0;
  for (let found = SPECIAL.exec(text); found; found = SPECIAL.exec(text)) {
    const [mark] = found;
    const start = found.index;
    let end = start + mark.length;
    emphasis.text(text.slice(at, start));
    if (mark[0] === "\n") {
      // A new paragraph: what is still open stays as it was written.
      emphasis.abandon();
      emphasis.text(mark);
    } else if (mark[0] === "\\") {
      emphasis.text(mark.slice(1));
    } else if (mark[0] === "`") {
      const close = closers.next(mark.length, end);
      if (close < 0) {
        emphasis.text(mark);
      } else {
        emphasis.node({ tag: "code", children: [trimCode(text.slice(end, close))] });
        end = close + mark.length;
      }
    } else if (mark === "[" || mark.length > 3 && /[/:]$/.test(mark)) {
      const link = mark === "[" ? labelled(text, start) : bare(text, start);
      if (link) {
        emphasis.node(link.node);
        end = link.end;
      } else {
        emphasis.text(mark);
      }
    } else {
      emphasis.mark(mark, characterBefore(text, start), characterAt(text, end));
    }
    at = end;
    SPECIAL.lastIndex = at;
  }
  emphasis.text(text.slice(at));
  return emphasis.finish();
}

/** Where runs of backticks are, by their length: a span of code ends at the next run that is as long as the one it began with. */
class Closers {
  /** @type {Map<number, number[]>} */
  #runs = new Map();

  /** @param {string} text */
  constructor(text) {
    for (const { index, 0: run } of text.matchAll(/`+/g)) {
      const places = this.#runs.get(run.length);
      if (places) places.push(index);
      else this.#runs.set(run.length, [index]);
    }
    for (const places of this.#runs.values()) places.reverse();
  }

  /** Returns the place of the next run, or -1. `from` only grows. @param {number} length @param {number} from */
  next(length, from) {
    const places = this.#runs.get(length) ?? [];
    while (places.length > 0 && places[places.length - 1] < from) places.pop();
    return places.at(-1) ?? -1;
  }
}

/** Nested emphasis, each kind at most once in the other: so what is written can't nest deeper than there are kinds. */
class Emphasis {
  /** @type {Frame[]} */
  #frames = [{ tag: null, marker: "", children: [] }];

  /** @param {string} text */
  text(text) {
    const { children } = this.#frames[this.#frames.length - 1];
    const last = children.at(-1);
    if (typeof last === "string") children[children.length - 1] = last + text;
    else if (text) children.push(text);
  }

  /** @param {Node} node */
  node(node) {
    if (typeof node === "string") this.text(node);
    else this.#frames[this.#frames.length - 1].children.push(node);
  }

  /** Takes a run of marks. @param {string} run @param {string} before the character before it @param {string} after the one after it */
  mark(run, before, after) {
    const tags = EMPHASIS[run];
    // Inside a word, one mark is a mark: 2*3*4, snake_case.
    const inWord = run.length === 1 || run[0] === "_";
    const closes = before !== "" && !/\s/u.test(before) && !(inWord && WORD.test(after));
    const opens = after !== "" && !/^\s/u.test(after) && !(inWord && WORD.test(before)) && (run !== "_" || /^[\p{L}\p{N}*~`[]/u.test(after));
    if (!tags) {
      this.text(run);
    } else if (closes && tags.every((tag) => this.#isOpen(tag, run[0]))) {
      for (let left = tags.length; left > 0; left -= 1) this.#close(tags);
    } else if (opens && !tags.some((tag) => this.#isOpen(tag))) {
      for (const tag of tags) this.#frames.push({ tag, marker: tag === "strong" ? run.slice(0, 2) : tag === "em" ? run[0] : run, children: [] });
    } else {
      this.text(run);
    }
  }

  /** What is open is text. */
  abandon() {
    while (this.#frames.length > 1) this.#abandon(this.#frames.pop());
  }

  /** @returns {Node[]} */
  finish() {
    this.abandon();
    return this.#frames[0].children;
  }

  /** @param {Tag} tag @param {string} [char] of its mark */
  #isOpen(tag, char) {
    return this.#frames.some((frame) => frame.tag === tag && (char === undefined || frame.marker[0] === char));
  }

  /** Closes the innermost of these, one of which is open. @param {Tag[]} tags */
  #close(tags) {
    for (let frame = this.#frames.pop(); frame; frame = this.#frames.pop()) {
      if (frame.tag !== null && tags.includes(frame.tag)) {
        this.node({ tag: frame.tag, children: frame.children });
        return;
      }
      this.#abandon(frame);
    }
  }

  /** @param {Frame | undefined} frame that was the innermost */
  #abandon(frame) {
    if (!frame) return;
    this.text(frame.marker);
    for (const child of frame.children) this.node(child);
  }
}

/** @param {string} text @param {number} at */
const characterAt = (text, at) => (at < text.length ? String.fromCodePoint(text.codePointAt(at) ?? 0) : "");

/** @param {string} text @param {number} at */
const characterBefore = (text, at) => (at === 0 ? "" : characterAt(text, at > 1 && isLow(text.charCodeAt(at - 1)) ? at - 2 : at - 1));

/** @param {number} unit of UTF-16 */
const isLow = (unit) => unit >= 0xdc00 && unit < 0xe000;

/** One blank on each side keeps backticks apart from those around the code. @param {string} text */
const trimCode = (text) => (text.startsWith(" ") && text.endsWith(" ") && /[^ ]/.test(text) ? text.slice(1, -1) : text);

/** Takes `[label](address)`. @param {string} text @param {number} start of `[` */
function labelled(text, start) {
  const label = /[^[\]\n]{1,200}\]/uy;
  label.lastIndex = start + 1;
  if (!label.test(text)) return null;
  const close = label.lastIndex - 1;
  TARGET.lastIndex = close + 1;
  const found = TARGET.exec(text);
  const url = found && address(found[1]);
  const written = text.slice(start + 1, close);
  if (!url || written.trim() === "") return null;
  // Where it leads stands beside it: a label may say anything.
  const host = url.protocol === "mailto:" ? url.pathname : url.host;
  return { node: { tag: /** @type {Tag} */ ("link"), href: url.href, host, children: [written] }, end: TARGET.lastIndex };
}

/** Takes an address as it stands, without the punctuation of the sentence around it. @param {string} text @param {number} start */
function bare(text, start) {
  if (WORD.test(characterBefore(text, start))) return null;
  BARE.lastIndex = start;
  const run = BARE.exec(text)?.[0] ?? "";
  let surplus = 0;
  for (const char of run) surplus += char === ")" ? 1 : char === "(" ? -1 : 0;
  let end = run.length;
  for (; end > 0; end -= 1) {
    const char = run[end - 1];
    if (char === ")" && surplus > 0) surplus -= 1;
    else if (!TRAILING.has(char)) break;
  }
  const url = address(run.slice(0, end));
  // As a whole: to look for another beginning in it would cost its length again.
  if (!url) return { node: run, end: start + run.length };
  return { node: { tag: /** @type {Tag} */ ("link"), href: url.href, children: [run.slice(0, end)] }, end: start + end };
}

/** Returns the address if it may be a link. One that names a user pretends to be another's: https://bank.example@evil.example. @param {string} text */
function address(text) {
  if (text.length > URL_MAX || !/^(?:https?:\/\/|mailto:)./i.test(text) || !URL.canParse(text)) return null;
  const url = new URL(text);
  if (url.protocol === "mailto:") return /^[^@\s]+@[^@\s]+$/.test(url.pathname) ? url : null;
  return url.hostname && !url.username && !url.password ? url : null;
}

/** @param {Node[]} nodes @returns {string} */
function flat(nodes) {
  return nodes.map((node) => (typeof node === "string" ? node : (node.tag === "pre" || node.tag === "quote" ? ` ${flat(node.children)} ` : flat(node.children)))).join("");
}

/** @param {globalThis.Node} parent @param {Node[]} nodes */
function append(parent, nodes) {
  for (const node of nodes) parent.appendChild(typeof node === "string" ? document.createTextNode(node) : element(node));
}

/** @param {Exclude<Node, string>} node @returns {globalThis.Node} */
function element(node) {
  if (node.tag === "link") return link(node);
  if (node.tag === "pre") {
    const block = document.createElement("pre");
    block.dir = "ltr";
    append(block.appendChild(document.createElement("code")), node.children);
    return block;
  }
  const made = document.createElement(ELEMENTS[node.tag]);
  if (node.tag === "jumbo") made.className = "jumbo";
  if (node.tag === "quote") made.dir = "auto";
  append(made, node.children);
  return made;
}

/** @param {Exclude<Node, string>} node */
function link(node) {
  const anchor = document.createElement("a");
  anchor.href = node.href ?? "";
  anchor.title = node.href ?? "";
  anchor.target = "_blank";
  anchor.rel = "noopener noreferrer nofollow";
  append(anchor, node.children);
  if (!node.host) return anchor;
  const host = document.createElement("span");
  host.className = "host";
  host.textContent = ` (${node.host})`;
  const both = document.createElement("span");
  both.append(anchor, host);
  return both;
}

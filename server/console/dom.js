// @ts-check
// Making and changing the page. Text always goes in as text: there is no way to put markup in here.

/**
 * Makes an element. `on…` are listeners, `class` and `text` what they say, everything else attributes (`false`, null and undefined leave
 * them out).
 * @param {string} tag @param {Record<string, any>} [props] @param {...(Node | string | null | false | undefined)} children
 * @returns {any} an HTMLElement of whichever kind
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === undefined || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child) node.append(child);
  return node;
}

/** Makes an element of a drawing. @param {string} tag @param {Record<string, string | number>} [props] @param {...Node} children */
export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/** Sets text only if it is another. @param {Element} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @type {WeakMap<Element, Map<string, any>>} */
const synced = new WeakMap();

/**
 * Makes the children of an element those of a list, keeping nodes by key.
 * @template T
 * @param {Element} parent @param {T[]} items @param {(item: T) => string} key
 * @param {(item: T) => HTMLElement} make @param {(node: any, item: T) => void} [update]
 */
export function sync(parent, items, key, make, update) {
  const before = synced.get(parent) ?? new Map();
  const after = new Map();
  for (const item of items) after.set(key(item), item);
  for (const [name, node] of before) if (!after.has(name)) node.remove();
  const focused = document.activeElement;
  let cursor = parent.firstChild;
  for (const [name, item] of after) {
    const node = before.get(name) ?? make(item);
    update?.(node, item);
    if (cursor !== null && node === cursor) cursor = cursor.nextSibling;
    else parent.insertBefore(node, cursor);
    after.set(name, node);
  }
  synced.set(parent, after);
  // A node that was moved has lost the focus.
  if (focused instanceof HTMLElement && focused !== document.activeElement && parent.contains(focused)) focused.focus();
}

/** Shows pairs of a name and a value. @param {Element} list a `dl` @param {[string, string][]} pairs */
export function pairs(list, pairs) {
  sync(list, pairs, ([name]) => name, ([name]) => el("div", {}, el("dt", { text: name }), el("dd")),
    (node, [, value]) => setText(node.lastChild, value));
}

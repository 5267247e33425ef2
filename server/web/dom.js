// @ts-check
// Making and changing the page. Text always goes in as text: there is no way to put markup in here.

/**
 * Makes an element. `on…` are listeners, `class`, `text` and `data` what they say, everything else attributes
 * (`false` and undefined leave them out).
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
    else if (name === "data") Object.assign(node.dataset, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child) node.append(child);
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/** Makes an icon that is in the page's list. @param {string} name @param {string} [label] for who can't see it */
export function icon(name, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon icon-${name}`);
  if (label === undefined) {
    svg.setAttribute("aria-hidden", "true");
  } else {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  }
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Makes a button that shows an icon only. @param {string} name @param {string} label @param {() => void} onclick @param {string} [kind] */
export function iconButton(name, label, onclick, kind = "") {
  return el("button", { type: "button", class: `icon-button ${kind}`, title: label, "aria-label": label, onclick }, icon(name));
}

/** Shows a user's initial on a colour made of the name. @param {string} name @param {boolean} [square] for rooms and groups */
export function avatar(name, square = false) {
  let hue = 0;
  for (const char of name) hue = (hue * 31 + (char.codePointAt(0) ?? 0)) % 360;
  const node = el("span", { class: square ? "avatar square" : "avatar", "aria-hidden": "true", text: initial(name) });
  node.style.setProperty("--hue", String(hue));
  return node;
}

/** @param {string} name */
function initial(name) {
  return (/[\p{L}\p{N}]/u.exec(name)?.[0] ?? "#").toUpperCase();
}

/** @type {WeakMap<Element, Map<string, any>>} */
const synced = new WeakMap();

/**
 * Makes the children of an element those of a list, keeping nodes by key, in as few moves as an edit of a list needs.
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

/** Sets text only if it is another: a live region repeats what is set. @param {Element} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// @ts-check
// Keys that work wherever the focus is.

/**
 * @typedef {{filter: () => void, step: (by: 1 | -1, unread: "unread" | "any") => void, toEnd: () => void, escape: () => void}} Actions
 */

/** @param {Actions} actions @param {() => boolean} active whether someone is logged in */
export function listen(actions, active) {
  addEventListener("keydown", (event) => {
    // An open dialog or panel has the keys to itself, and so has an input method that composes.
    if (event.defaultPrevented || event.isComposing || !active() || document.querySelector("dialog[open], :popover-open")) return;
    const act = action(event, actions);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/** @param {KeyboardEvent} event @param {Actions} actions @returns {(() => void) | null} */
function action(event, { filter, step, toEnd, escape }) {
  const { key, altKey, shiftKey } = event;
  const control = event.ctrlKey || event.metaKey;
  if (control && !altKey && !shiftKey && key.toLowerCase() === "k") return filter;
  if (control && !altKey && !shiftKey && key === "End") return toEnd;
  if (altKey && !control && (key === "ArrowUp" || key === "ArrowDown")) {
    return () => step(key === "ArrowDown" ? 1 : -1, shiftKey ? "unread" : "any");
  }
  if (key === "Escape" && !altKey && !control && !shiftKey) return escape;
  return null;
}

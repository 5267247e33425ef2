// @ts-check
// A curve of the last half hour.

import { el, setText, svg } from "./dom.js";
import { clock, span } from "./format.js";

const WIDTH = 320;
const HEIGHT = 84;
const SPAN_MAX_MS = 30 * 60_000;
/** A server that just started: what it did is to be seen, and not only as a line at the edge. */
const SPAN_MIN_MS = 3 * 60_000;

export class Chart {
  /** @type {{ at: number, value: number | null }[]} */
  #points = [];
  #span = SPAN_MAX_MS;

  /** @param {string} title @param {(value: unknown) => string} format @param {string} hint what the curve says */
  constructor(title, format, hint) {
    this.title = title;
    this.format = format;
    this.area = svg("path", { class: "area" });
    this.line = svg("path", { class: "line" });
    this.cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
    this.drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT / 2, y2: HEIGHT / 2 }), this.area, this.line, this.cursor);
    this.now = el("output", { class: "now" });
    this.top = el("span", { class: "top" });
    this.since = el("span");
    this.node = el("figure", { class: "chart", title: hint },
      el("figcaption", {}, el("span", { text: title }), this.now), el("div", { class: "plot" }, this.drawing, this.top),
      el("div", { class: "axis", "aria-hidden": "true" }, this.since, el("span", { text: "now" })));
    this.drawing.addEventListener("pointermove", (event) => this.#point(/** @type {PointerEvent} */ (event)));
    this.drawing.addEventListener("pointerleave", () => this.#leave());
  }

  /** @param {number[]} at Unix ms @param {(number | null)[]} values */
  show(at, values) {
    this.#points = at.map((at, index) => ({ at, value: values[index] ?? null }));
    const end = at.at(-1) ?? Date.now();
    this.#span = Math.min(SPAN_MAX_MS, Math.max(SPAN_MIN_MS, end - (at[0] ?? end)));
    setText(this.since, `${span(this.#span / 1000)} ago`);
    const known = this.#points.flatMap(({ value }) => (value === null ? [] : [value]));
    const most = Math.max(0, ...known);
    const x = (/** @type {number} */ at) => WIDTH - ((end - at) / this.#span) * WIDTH;
    const y = (/** @type {number} */ value) => HEIGHT - 1 - (most > 0 ? (value / most) * (HEIGHT - 8) : 0);
    let line = "";
    let area = "";
    let begun = /** @type {string | null} */ (null);
    let last = "";
    for (const { at, value } of this.#points) {
      if (value === null) {
        if (begun !== null) area += `L${last},${HEIGHT}Z`;
        begun = null;
        continue;
      }
      const [px, py] = [x(at).toFixed(1), y(value).toFixed(1)];
      area += begun === null ? `M${px},${HEIGHT}L${px},${py}` : `L${px},${py}`;
      line += `${begun === null ? "M" : "L"}${px},${py}`;
      [begun, last] = [px, px];
    }
    if (begun !== null) area += `L${last},${HEIGHT}Z`;
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", area);
    setText(this.top, most > 0 ? this.format(most) : "");
    const newest = this.#points.at(-1)?.value ?? null;
    this.drawing.setAttribute("aria-label", `${this.title}: now ${this.format(newest)}, at most ${this.format(most)} in the last 30 minutes`);
    if (this.cursor.getAttribute("visibility") === "hidden") setText(this.now, this.format(newest));
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const end = this.#points.at(-1)?.at;
    if (end === undefined) return;
    const box = this.drawing.getBoundingClientRect();
    const at = end - (1 - (event.clientX - box.left) / box.width) * this.#span;
    const near = this.#points.reduce((best, point) => (Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best));
    const x = String(WIDTH - ((end - near.at) / this.#span) * WIDTH);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.cursor.setAttribute("visibility", "visible");
    setText(this.now, `${clock(near.at)}  ${this.format(near.value)}`);
  }

  #leave() {
    this.cursor.setAttribute("visibility", "hidden");
    setText(this.now, this.format(this.#points.at(-1)?.value));
  }
}

// @ts-check
// A table whose rows change while one looks at them.

import { el, setText, sync } from "./dom.js";

/**
 * @typedef {{ key: string, cells: (string | Node)[], href?: string, label?: string, tone?: "bad" | "chosen" | "" }} Row
 * The first cell of a row with `href` is its link; the whole row can be clicked.
 */

export class Table {
  /** @param {string} caption @param {[label: string, kind?: "number" | "text", hint?: string][]} columns @param {string} empty said without rows */
  constructor(caption, columns, empty) {
    this.columns = columns;
    this.body = el("tbody");
    const heads = columns.map(([label, kind = "text", hint]) => el("th", { scope: "col", class: kind, title: hint, text: label }));
    this.empty = el("p", { class: "hint", text: empty });
    this.node = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
      el("table", {}, el("caption", { class: "unseen", text: caption }), el("thead", {}, el("tr", {}, ...heads)), this.body), this.empty);
  }

  /** @param {Row[]} rows */
  show(rows) {
    this.empty.hidden = rows.length > 0;
    sync(this.body, rows, (row) => row.key, (row) => this.#make(row), (node, row) => this.#update(node, row));
  }

  /** @param {Row} row */
  #make(row) {
    return el("tr", {}, ...this.columns.map(([, kind = "text"], at) => {
      if (at > 0) return el("td", { class: kind });
      return el("th", { scope: "row" }, row.href !== undefined && el("a", { href: row.href }));
    }));
  }

  /** @param {HTMLTableRowElement} node @param {Row} row */
  #update(node, row) {
    node.className = `${row.href === undefined ? "" : "opens"} ${row.tone ?? ""}`.trim();
    row.cells.forEach((cell, at) => {
      const place = at === 0 && row.href !== undefined ? /** @type {Element} */ (node.cells[0].firstElementChild) : node.cells[at];
      if (cell instanceof Node) {
        // Buttons stay: the first one made for a row is as good as the next.
        if (place.firstChild === null) place.append(cell);
      } else setText(place, cell);
    });
  }
}

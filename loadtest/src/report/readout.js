// Shows the values below the pointer; the page is whole without it.
"use strict";
const three = value => value >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
const steps = (value, units) => {
  const [size, unit] = units.find(([size]) => value >= size) ?? units[units.length - 1];
  return `${three(value / size)} ${unit}`;
};
const show = {
  delay: value => steps(value, [[1000, "s"], [1, "ms"], [0.001, "µs"]]),
  mib: value => `${three(value)} MiB`,
  us: value => `${three(value)} µs`,
  number: three,
};
const clock = s => s < 120 ? `${three(s)} s` : s < 7200 ? `${Math.floor(s / 60)} min ${Math.round(s % 60)} s` : `${three(s / 3600)} h`;

for (const plot of document.querySelectorAll(".plot")) {
  const data = JSON.parse(plot.querySelector("script").textContent);
  const [area, cursor, out] = [".area", ".cursor", ".readout"].map(name => plot.querySelector(name));
  area.addEventListener("pointermove", event => {
    const box = area.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * data.to;
    let near = 0;
    data.x.forEach((x, index) => { if (Math.abs(x - at) < Math.abs(data.x[near] - at)) near = index; });
    cursor.hidden = false;
    cursor.style.left = `${data.x[near] / data.to * 100}%`;
    const name = data.xname === "time" ? clock(data.x[near]) : data.ticks[near];
    out.textContent = name;
    data.lines.forEach(([line, values]) => {
      const value = values[near];
      out.append(` · ${line} `, Object.assign(document.createElement("b"), { textContent: value === null ? "–" : show[data.q](value) }));
    });
  });
  area.addEventListener("pointerleave", () => { cursor.hidden = true; out.textContent = ""; });
}

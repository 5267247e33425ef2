"""The table of metrics in ops/metrics.md, beside what a server exports.

A server doesn't export everything: a lone one has no links. Rows of such metrics are kept as they are, as long as the source names them.
"""

import pathlib
import re

OPS = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = OPS / "metrics.md"
SOURCE = [OPS.parent / "server/src/ops/prometheus.rs", *sorted((OPS.parent / "server/src/ops/prometheus").glob("*.rs"))]
BEGIN, END = "<!-- metrics: written by ops/scrape_test.py --write -->", "<!-- metrics end -->"
ALWAYS = "always"


def exported(text):
    """Reads Prometheus' text format: {family: {type, help, labels}}."""
    families = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, about = line.split(" ", 3)
            families[name] = {"type": "", "help": about.replace("\\n", " ").replace("\\\\", "\\"), "labels": []}
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            families.setdefault(name, {"help": "", "labels": []})["type"] = kind
        elif line and not line.startswith("#"):
            name, labels = re.match(r"([a-zA-Z_:]\w*)(?:\{(.*)\})? ", line).groups()
            kept = families.get(name) or families.get(re.sub(r"_(bucket|sum|count)$", "", name))
            if kept is None:
                raise SystemExit(f"FAILED: {name} has neither HELP nor TYPE")
            for label in re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', labels or ""):
                if label not in kept["labels"] and not (label == "le" and kept["type"] == "histogram"):
                    kept["labels"].append(label)
    return families


def in_source():
    """Returns the names that the source can export."""
    text = "\n".join(file.read_text() for file in SOURCE)
    return {f"chinwag_{name}" for name in re.findall(r'families\s*\.(?:add|gauge|counter)\(\s*"([a-z_]+)"', text)}


def documented():
    """Reads the table: {family: {type, help, labels, when}}."""
    inner = DOCUMENT.read_text().split(BEGIN)[1].split(END)[0]
    rows = {}
    for line in inner.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 5 and cells[0].startswith("`"):
            labels = re.findall(r"`(\w+)`", cells[2])
            rows[cells[0].strip("`")] = {"type": cells[1], "labels": labels, "when": cells[3], "help": cells[4]}
    return rows


def problems(families):
    """Returns how the table differs from what is exported and from the source."""
    rows, source, found = documented(), in_source(), []
    for name, family in families.items():
        row = rows.get(name)
        if row is None:
            found.append(f"ops/metrics.md lacks {name}: ops/scrape_test.py --write")
        elif any(row[key] != family[key] for key in ("type", "help", "labels")):
            found.append(f"ops/metrics.md is wrong about {name}: ops/scrape_test.py --write")
        if not family["help"] or family["type"] not in ("counter", "gauge", "histogram"):
            found.append(f"{name} has no HELP or no TYPE")
        if (family["type"] == "counter") != name.endswith("_total"):
            found.append(f"{name} is a {family['type']}: counters alone end in _total")
    found += [f"ops/metrics.md tells of {name}, which the server can't export" for name in sorted(rows.keys() - source)]
    found += [f"ops/metrics.md lacks {name}" for name in sorted(source - rows.keys())]
    missing = {name for name, row in rows.items() if row["when"] == ALWAYS} - families.keys()
    found += [f"{name} should always be exported, and isn't" for name in sorted(missing)]
    return found


def write(families):
    rows, source = documented(), in_source()
    for name, family in families.items():
        rows[name] = {"when": ALWAYS, **rows.get(name, {}), **family}
    lines = ["| metric | type | labels | when | |", "|---|---|---|---|---|"]
    for name in sorted(rows.keys() & source):
        row = rows[name]
        labels = ", ".join(f"`{label}`" for label in row["labels"]) or "–"
        lines.append(f"| `{name}` | {row['type']} | {labels} | {row['when']} | {row['help']} |")
    before, rest = DOCUMENT.read_text().split(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.split(END)[1]}")

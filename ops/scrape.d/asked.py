"""What the rules and dashboards of this repository ask Prometheus."""

import json
import pathlib
import re

import yaml

OPS = pathlib.Path(__file__).resolve().parent.parent
RULES = sorted((OPS / "prometheus/rules").glob("*.yml"))
TESTS = sorted((OPS / "prometheus/tests").glob("*.yml"))
DASHBOARDS = sorted((OPS / "grafana/dashboards").glob("*.json"))
RUNBOOK = OPS / "runbook.md"

METRIC = re.compile(r"(?<![\w:])chinwag_[a-z0-9_]+(?![\w:])")
# A series with its labels, recorded or ours.
SELECTOR = re.compile(r"(?:\w+:)?chinwag_[\w:]+(?:\{[^}]*\})?|\bup\{[^}]*\}")
# Of the variables of a dashboard: all clusters, all nodes.
ANY = ".*"


def rules():
    """Returns all rules, those of a file in its order."""
    return [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def recorded():
    return {rule["record"] for rule in rules() if "record" in rule}


def dashboards():
    """Returns [(file name, dashboard)]."""
    return [(file.name, json.loads(file.read_text())) for file in DASHBOARDS]


def filled(expression, interval):
    """Returns a dashboard's expression as Grafana asks it when everything is chosen."""
    for name, value in (("$__rate_interval", interval), ("$cluster", ANY), ("$node", ANY)):
        expression = expression.replace(name, value)
    if "$" in expression:
        raise SystemExit(f"FAILED: a variable that isn't known: {expression}")
    return expression


def queries(interval):
    """Returns [(dashboard, panel, expression)] of all panels, annotations and variables."""
    found = []
    for name, board in dashboards():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                found.append((name, panel["title"], filled(target["expr"], interval)))
        for note in board["annotations"]["list"]:
            found.append((name, f"annotation {note['name']}", filled(note["expr"], interval)))
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                inner = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"])
                found.append((name, f"variable {variable['name']}", filled(inner.group(1), interval)))
    return found


def family(name):
    """Returns the family of a time series."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def metrics_in(text):
    """Returns the families of ours that an expression names. Names of recorded series hold a colon, and are none."""
    return {family(name) for name in METRIC.findall(text)}


def problems():
    """Returns what is wrong with the files themselves."""
    found = []
    alerts = [rule["alert"] for rule in rules() if "alert" in rule]
    headings = set(re.findall(r"^#+ (\w+)$", RUNBOOK.read_text(), re.M))
    tested = {True: set(), False: set()}
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for check in test["alert_rule_test"]:
                tested[bool(check["exp_alerts"])].add(check["alertname"])
    for name in alerts:
        if name not in headings:
            found.append(f"ops/runbook.md says nothing of {name}")
        if name not in tested[True]:
            found.append(f"no test shows that {name} fires")
        if name not in tested[False]:
            found.append(f"no test shows that {name} can be silent")
    for rule in rules():
        if "alert" in rule:
            kept = rule["annotations"]
            if rule["labels"].get("severity") not in ("critical", "warning"):
                found.append(f"{rule['alert']} has no severity")
            if not kept["runbook_url"].endswith(f"/ops/runbook.md#{rule['alert'].lower()}"):
                found.append(f"{rule['alert']} leads to another place of the runbook")
    seen = {}
    for name, board in dashboards():
        if board["uid"] in seen:
            found.append(f"{name} has the uid of {seen[board['uid']]}")
        seen[board["uid"]] = name
        found += [f"{name}: '{title}' overlaps '{other}'" for title, other in overlaps(board["panels"])]
        found += [f"{name}: '{panel['title']}' says nothing of itself" for panel in board["panels"] if panel["type"] != "row" and not panel["description"]]
    for expression in [rule["expr"] for rule in rules()] + [expression for _, _, expression in queries("1m")]:
        for name in re.findall(r"[\w]+:chinwag_[\w:]+", expression):
            if name not in recorded():
                found.append(f"{name} is asked and not recorded")
    return found


def overlaps(panels):
    for at, one in enumerate(panels):
        for other in panels[:at]:
            a, b = one["gridPos"], other["gridPos"]
            if a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]:
                yield one["title"], other["title"]

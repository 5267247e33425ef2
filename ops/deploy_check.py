#!/usr/bin/env python3
"""Checks ops/compose, ops/k8s, ops/prometheus and ops/grafana against the program: what they set, call, ask and mount must exist.

    ops/deploy_check.py            exits nonzero and says what is wrong

Needs PyYAML (Debian: python3-yaml).
"""

import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "ops/scrape.d")]

import asked  # noqa: E402
import table  # noqa: E402

COMPOSE = ROOT / "ops/compose"
K8S = ROOT / "ops/k8s"


def read(path):
    return (ROOT / path).read_text()


def settings():
    """Returns the variables that the program knows."""
    names = re.findall(r"^        (\w+): \w+ \"", read("server/src/config/settings.rs"), re.M)
    return {f"CHINWAG_{name.upper()}" for name in names}


def subcommands():
    body = re.search(r"pub enum Command \{(.*?)\n\}", read("server/src/config/cli.rs"), re.S).group(1)
    names = re.findall(r"^    ([A-Z]\w+)", body, re.M)
    return {re.sub(r"(?<!^)([A-Z])", r"-\1", name).lower() for name in names}


def routes():
    """Returns all texts in the server that look like a path of a request."""
    texts = set()
    for file in (ROOT / "server/src").rglob("*.rs"):
        texts |= set(re.findall(r'"(/[a-z/_-]*)"', file.read_text()))
    return texts


def walk(value, path=""):
    """Yields all (path, value) of a document."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, f"{path}/{key}")
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from walk(inner, f"{path}/{index}")


def check_variables(name, document, problems):
    used = set(re.findall(r"\bCHINWAG_[A-Z_]+\b", json.dumps(document)))
    for variable in sorted(used - settings()):
        problems.append(f"{name}: {variable} is no setting")
    return used


def check_compose(problems):
    document = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    services, volumes = document["services"], document["volumes"]
    check_variables("compose.yaml", services, problems)
    for name, service in services.items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                if not (COMPOSE / source).exists():
                    problems.append(f"compose.yaml: {name} mounts {source}, which isn't there")
            elif source not in volumes:
                problems.append(f"compose.yaml: {name} mounts the volume {source}, which isn't declared")
        needed = service.get("depends_on", {})
        for other in needed:
            if other not in services:
                problems.append(f"compose.yaml: {name} waits for {other}, which isn't there")
                continue
            if isinstance(needed, dict) and needed[other]["condition"] == "service_healthy" and "healthcheck" not in services[other]:
                problems.append(f"compose.yaml: {name} waits until {other} is healthy, which nobody asks")
        if service["image"] == "chinwag":
            for word in service.get("command", [])[:1]:
                if word not in subcommands():
                    problems.append(f"compose.yaml: {name} calls chinwag {word}, which doesn't exist")
    nodes = {name for name, service in services.items() if service["image"] == "chinwag"} - {"migrate", "doctor"}
    proxy = (COMPOSE / "haproxy.cfg").read_text()
    for kind, port in (("http", 3000), ("messenger", 4000), ("presence", 5000)):
        backend = re.search(rf"^backend {kind}\n((?:    .*\n?)+)", proxy, re.M).group(1)
        if set(re.findall(rf"server (\w+) \1:{port}$", backend, re.M)) != nodes:
            problems.append(f"haproxy.cfg: backend {kind} doesn't have the nodes {', '.join(sorted(nodes))} on port {port}")
    targets = yaml.safe_load(read("ops/prometheus/prometheus.yml"))["scrape_configs"][0]["static_configs"][0]["targets"]
    if {target.split(":")[0] for target in targets} != nodes:
        problems.append("prometheus.yml: asks other nodes than there are")
    # Each file below /keys that somebody reads is made by make-keys.sh.
    made = set(re.findall(r"^give (\S+) ", (COMPOSE / "make-keys.sh").read_text(), re.M))
    for file in [*COMPOSE.iterdir(), ROOT / "ops/prometheus/prometheus.yml"]:
        if file.suffix in (".yaml", ".yml"):
            for key in re.findall(r"/keys/([\w./-]+)", file.read_text()):
                if key not in made:
                    problems.append(f"{file.name}: reads /keys/{key}, which make-keys.sh doesn't make")
    # What is tested and what is shipped are the same.
    for module, image in (("postgres.py", services["postgres"]["image"]), ("redis.py", services["redis"]["image"])):
        if f'"{image}"' not in read(f"ops/services.d/{module}"):
            problems.append(f"compose.yaml: {image} is another than that of ops/services.d/{module}")


def check_asked(problems):
    """Rules and dashboards fit each other, the runbook and the program; ops/scrape_test.py asks them of a server."""
    problems += asked.problems()
    exported, datasources = table.in_source(), read("ops/grafana/provisioning/datasources.yml")
    expressions = [(rule.get("record") or rule["alert"], rule["expr"]) for rule in asked.rules()]
    expressions += [(f"{name}: '{title}'", expression) for name, title, expression in asked.queries("1m")]
    for about, expression in expressions:
        for name in sorted(asked.metrics_in(expression) - exported):
            problems.append(f"{about} asks for {name}, which nobody exports")
    for name, board in asked.dashboards():
        (source,) = [variable for variable in board["templating"]["list"] if variable["type"] == "datasource"]
        if f"uid: {source['current']['value']}\n" not in datasources:
            problems.append(f"{name} begins with a data source that isn't provisioned")


def check_k8s(problems):
    documents = list(yaml.safe_load_all((K8S / "chinwag.yaml").read_text()))
    check_variables("chinwag.yaml", documents, problems)
    known = routes()
    for document in documents:
        for path, value in walk(document):
            if path.endswith("/httpGet/path") and value not in known:
                problems.append(f"chinwag.yaml: a probe asks {value}, which the server doesn't have")
            if path.endswith("/args") and value[0] not in subcommands():
                problems.append(f"chinwag.yaml: calls chinwag {value[0]}, which doesn't exist")
    (pods,) = [document for document in documents if document["kind"] == "StatefulSet"]
    pod = pods["spec"]["template"]
    for document in documents:
        selector = document.get("spec", {}).get("selector", {})
        labels = selector.get("matchLabels", selector)
        if labels and not labels.items() <= pod["metadata"]["labels"].items():
            problems.append(f"chinwag.yaml: {document['kind']} {document['metadata']['name']} selects no pod of ours")
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    for path, value in walk(documents):
        if path.endswith(("targetPort", "httpGet/port")) and value not in ports:
            problems.append(f"chinwag.yaml: {path} names the port {value}, which the container doesn't have")
    secret = set(re.findall(r"^  ([\w.]+): ", (K8S / "secrets.sh").read_text(), re.M)) - {"name"}
    for key in set(re.findall(r"/keys/([\w.]+)", json.dumps(documents))):
        if key not in secret:
            problems.append(f"chinwag.yaml: reads {key}, which secrets.sh doesn't make")


def main():
    problems = []
    for file in sorted(file for place in (COMPOSE, K8S, ROOT / "ops/prometheus", ROOT / "ops/grafana") for file in place.rglob("*.y*ml")):
        try:
            list(yaml.safe_load_all(file.read_text()))
        except yaml.YAMLError as error:
            sys.exit(f"{file.relative_to(ROOT)}: {error}")
    for check in (check_compose, check_asked, check_k8s):
        check(problems)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    print("ops/compose, ops/k8s, ops/prometheus and ops/grafana fit the program")


if __name__ == "__main__":
    main()

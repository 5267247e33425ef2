#!/usr/bin/env python3
"""Lets a real Prometheus scrape a real server under load, and asks it everything that our rules and dashboards ask.

    ops/scrape_test.py                   a lone server of its own
    ops/scrape_test.py --cluster NAME    the nodes of `ops/cluster up 3 --name NAME`, which run already
    ops/scrape_test.py --write           also writes the table of ops/metrics.md

Every target must be up, every rule must be loaded and evaluated without an error, and every query must be answered with data, except those
that have none on a healthy server of this kind (ABSENT says why). Every metric must be in ops/metrics.md as it is exported, and every one
that is asked for must exist. What Prometheus counted as delivered must be what the load test received.

Needs promtool and prometheus (Debian: prometheus) and PyYAML (Debian: python3-yaml).
"""

import argparse
import math
import os
import pathlib
import subprocess
import sys
import tempfile

OPS = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(OPS / "scrape.d"), str(OPS / "cluster.d")]

import asked  # noqa: E402
import running  # noqa: E402
import table  # noqa: E402

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", OPS.parent / "target"))
SCRAPE_S = 1
# Of rates in dashboards: some scrapes, and the traffic of this run.
INTERVAL = "30s"
PATIENCE_S = 30
# Of these the load test hears each delivery that the server counts.
COUNTED = (
    "direct --mode open --pairs 5 --rate 20 --seconds 2 --rounds 1 --alone",
    "direct --mode open --pairs 5 --rate 20 --seconds 2 --rounds 1 --alone --protocol messenger",
    "fanout --mode lockstep --receivers 20 --messages 10 --rounds 1 --alone",
)
# In the rooms dialect the sender hears its own messages, too.
UNCOUNTED = ("fanout --mode lockstep --receivers 5 --messages 5 --rounds 1 --alone --protocol rooms",)

# Metrics without which a healthy server does, and why. An expression that names one of them may be answered with nothing.
HEALTHY = {
    "chinwag_storage_failures_total": "no call of a store has failed",
    "chinwag_certificate_expiry_timestamp_seconds": "it serves no TLS of its own",
}
LONE = {
    **{
        f"chinwag_link_{name}": "a lone node has no links"
        for name in ("up", "unacknowledged_frames", "unacknowledged_bytes", "envelopes_total", "resent_total", "downs_total")
    },
    "chinwag_lease_left_seconds": "the lease of a lone node never ends",
    "chinwag_redis_connected": "it uses no Redis",
    "chinwag_postgres_connections": "it uses no Postgres",
}
CLUSTERED = {"chinwag_last_backup_timestamp_seconds": "clusters are backed up by other means"}


class Test:
    def __init__(self, prometheus, targets, absent):
        self.prometheus, self.targets, self.absent = prometheus, targets, absent
        self.problems, self.asked, self.empty = [], 0, 0

    def fail(self, text):
        self.problems.append(text)

    def all_up(self):
        """Waits until each target was scraped, and for a second time: rates need that."""

        def scraped():
            return len(self.prometheus.query('count_over_time(up{job="chinwag"}[1m]) >= 2')) == len(self.targets)

        running.wait(scraped, PATIENCE_S, "two scrapes of each target")
        for target in self.prometheus.api("targets")["activeTargets"]:
            if target["health"] != "up" or target["lastError"]:
                sys.exit(f"FAILED: {target['scrapeUrl']}: {target['health']} {target['lastError']}")

    def rules(self):
        def evaluated():
            groups = self.prometheus.api("rules")["groups"]
            return groups if all(rule["lastEvaluation"] > "0002" for group in groups for rule in group["rules"]) else None

        loaded = [rule for group in running.wait(evaluated, PATIENCE_S, "each rule was evaluated") for rule in group["rules"]]
        wanted = {rule.get("record") or rule["alert"] for rule in asked.rules()}
        if {rule["name"] for rule in loaded} != wanted:
            self.fail(f"other rules are loaded than there are: {wanted ^ {rule['name'] for rule in loaded}}")
        for rule in loaded:
            if rule["health"] != "ok" or rule.get("lastError"):
                self.fail(f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}")
            if rule.get("state") == "firing":
                self.fail(f"{rule['name']} fires on a healthy server: {rule['alerts'][0]['annotations']['description']}")

    def ask(self, about, expression, needs_data):
        """Asks, and says what is wrong with the answer."""
        self.asked += 1
        try:
            answer = self.prometheus.query(expression)
        except ValueError as error:
            return self.fail(f"{about}: {error}: {expression}")
        if any(not math.isnan(value) for _, value in answer) or not needs_data:
            return None
        reasons = {self.absent[name] for name in self.named(expression) if name in self.absent}
        if not reasons:
            return self.fail(f"{about}: no data: {expression}")
        self.empty += 1
        return None

    def named(self, expression):
        """Returns the metrics that an expression is made of, recorded ones taken apart."""
        names = asked.metrics_in(expression)
        for rule in asked.rules():
            if "record" in rule and rule["record"] in expression:
                names |= asked.metrics_in(rule["expr"])
        return names

    def everything(self, exported):
        source = table.in_source()
        for name, title, expression in asked.queries(INTERVAL):
            # What fires is nothing, on a healthy server.
            self.ask(f"{name}: '{title}'", expression, not expression.startswith("ALERTS"))
        for rule in asked.rules():
            # An alert has data when it fires; the series that it is made of must have some now.
            self.ask(rule.get("record") or rule["alert"], rule["expr"], "record" in rule)
            for selector in asked.SELECTOR.findall(rule["expr"]):
                self.ask(f"{rule.get('record') or rule['alert']}: {selector}", selector, True)
            for name in self.named(rule["expr"]):
                if name not in source:
                    self.fail(f"{rule.get('record') or rule['alert']} is made of {name}, which nobody exports")
                elif name not in exported and name not in self.absent:
                    self.fail(f"{rule.get('record') or rule['alert']} is made of {name}, which this server doesn't export")
        for name in self.absent:
            if name not in source:
                self.fail(f"ABSENT tells of {name}, which nobody exports")
            elif name in exported:
                self.fail(f"{name} is exported, though '{self.absent[name]}'")


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"FAILED: promtool {arguments[0]} {arguments[1]}:\n{done.stdout}{done.stderr}")
    return done.stdout


def play(scenarios, loadtest, nodes):
    """Runs the load test's scenarios; returns how many deliveries it checked."""
    delivered = 0
    for scenario in scenarios:
        command = [loadtest, *scenario.split(), "--quiet", *[f"--node={node}" for node in nodes], "--fail-if", "errors>0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            sys.exit(f"FAILED: {scenario}:\n{done.stdout}{done.stderr}")
        delivered += running.delivered(done.stdout)
    return delivered


def deliveries(prometheus):
    return sum(value for _, value in prometheus.query("chinwag_delivery_seconds_count"))


def run(targets, nodes, absent, options, place, before=lambda: None):
    with running.prometheus(targets, place, SCRAPE_S) as prometheus:
        test = Test(prometheus, targets, absent)
        before()
        test.all_up()
        begin = deliveries(prometheus)
        received = play(COUNTED, options.loadtest, nodes)
        running.wait(lambda: deliveries(prometheus) >= begin + received, PATIENCE_S, f"{received} deliveries are counted")
        if deliveries(prometheus) != begin + received:
            test.fail(f"{deliveries(prometheus) - begin:.0f} deliveries were counted, the load test received {received}")
        play(UNCOUNTED, options.loadtest, nodes)
        exported = {}
        for target in targets:
            status, text = running.get(target, "/metrics", running.TOKEN)
            if status != 200:
                sys.exit(f"FAILED: {target} answers {status}")
            exported |= table.exported(text)
        test.rules()
        test.everything(exported)
        if options.write:
            table.write(exported)
        if options.cluster is None or options.write:
            test.problems += table.problems(exported)
        return test, exported


def lone(options):
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        with running.server(options.server, place) as (data, ports):
            node = ",".join(f"{kind}={ports[kind][0]}" for kind in ("http", "messenger", "presence")) + f",pid={ports['pid']}"
            backup = [options.server, "backup", place / "backup", f"--data={data}"]
            before = lambda: subprocess.run(backup, check=True, stdout=subprocess.DEVNULL)  # noqa: E731
            return run([ports["ops"][0]], [node], HEALTHY | LONE, options, place, before)


def clustered(options):
    from fleet import Fleet

    fleet = Fleet(options.cluster)
    nodes = [TARGET / "cluster" / options.cluster / node["name"] / "ports.json" for node in fleet.nodes]
    with tempfile.TemporaryDirectory() as directory:
        return run([node["ops"] for node in fleet.nodes], nodes, HEALTHY | CLUSTERED, options, pathlib.Path(directory))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=pathlib.Path, default=TARGET / "debug/chinwag", help="the program (default: %(default)s)")
    parser.add_argument("--loadtest", type=pathlib.Path, default=TARGET / "debug/chinwag-loadtest", help="(default: %(default)s)")
    parser.add_argument("--cluster", metavar="NAME", help="the nodes of a cluster that runs, instead of a server of its own")
    parser.add_argument("--write", action="store_true", help="writes what is exported into ops/metrics.md")
    options = parser.parse_args()
    options.server, options.loadtest = options.server.resolve(), options.loadtest.resolve()

    promtool("check", "rules", *asked.RULES)
    promtool("test", "rules", *asked.TESTS)
    test, exported = lone(options) if options.cluster is None else clustered(options)
    problems = asked.problems() + test.problems
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(f"FAILED: {len(problems)} of the above")
    alerts = sum("alert" in rule for rule in asked.rules())
    print(
        f"{len(test.targets)} targets up; {len(exported)} metrics as documented; {alerts} alerts tested, {len(asked.recorded())} series recorded; "
        f"{test.asked} queries answered, {test.empty} of them rightly with nothing"
    )


if __name__ == "__main__":
    main()

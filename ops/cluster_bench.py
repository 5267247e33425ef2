#!/usr/bin/env python3
"""Measures what a message costs through a cluster, beside the same message in one embedded server, in turn, on this machine.

    ops/cluster_bench.py [--name NAME] [--bin DIR] [--seconds S] [--rounds N]

Starts a cluster of three nodes of its own on `ops/services`, and embedded servers beside, all of the programs in --bin (default:
target/release; build them first: cargo build --release --locked --workspace --bins). Plays two rows of `ops/bench` on each: B1 (200 pairs, one
message in flight each) and A3 (a room of 1,000, the next message when all have the last), read by the load test's checker. Prints a
table of CPU, deliveries per second and delays: the nodes' CPU together, and that of PostgreSQL, Redis and Cassandra by itself.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

OPS = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(OPS / "cluster.d"), str(OPS / "services.d")]

from fleet import TARGET, Fleet  # noqa: E402
from runs import Run  # noqa: E402

SAMPLE_S = 0.1
RUN_MAX_S = 900
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
KINDS = ("postgres", "redis", "cassandra")
ROWS = {
    "B1": ("200 pairs, one in flight each", "direct --mode closed --pairs 200 --seconds {seconds}"),
    "A3": ("room of 1,000, next when all have the last", "fanout --mode lockstep --receivers 1000 --messages {messages}"),
}


class Sampler(threading.Thread):
    """Notes the CPU time of groups of processes, and of all processors, ten times a second."""

    def __init__(self, roots):
        super().__init__(daemon=True)
        self.roots, self.samples, self.over = roots, [], threading.Event()

    def run(self):
        while not self.over.is_set():
            parents, spent = processes()
            now = {kind: sum(spent.get(pid, 0) for pid in family(pids, parents)) for kind, pids in self.roots.items()}
            self.samples.append((time.time(), now, idle_s()))
            self.over.wait(SAMPLE_S)

    def between(self, begin, end):
        """Returns the CPU seconds that each group used in this time, and how much of the processors was idle."""
        first = max((sample for sample in self.samples if sample[0] <= begin), key=lambda sample: sample[0])
        last = min((sample for sample in self.samples if sample[0] >= end), key=lambda sample: sample[0])
        used = {kind: last[1][kind] - first[1][kind] for kind in first[1]}
        return used, (last[2] - first[2]) / (last[0] - first[0]) / os.cpu_count()


def processes():
    """Returns each process' parent, and the CPU seconds that it used; those of children that ended are their parents'."""
    parents, spent = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        fields = stat[stat.rindex(")") + 2 :].split()
        parents[int(entry.name)] = int(fields[1])
        spent[int(entry.name)] = sum(map(int, fields[11:15])) * TICK_S
    return parents, spent


def family(pids, parents):
    """Returns these processes and all that descend from them."""
    found, more = set(), set(pids)
    while more:
        found |= more
        more = {pid for pid, parent in parents.items() if parent in more} - found
    return found


def idle_s():
    fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(fields[4]) + int(fields[5])) * TICK_S


def play(programs, row, options, where):
    """Runs the load test; returns its report."""
    result = TARGET / "bench" / f"cluster-{row}.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    arguments = ROWS[row][1].format(seconds=options.seconds, messages=options.messages).split()
    command = [programs / "chinwag-loadtest", *arguments, "--rounds", str(options.rounds), "--alone", "--quiet", "--json", result, *where]
    subprocess.run(command, check=True, timeout=RUN_MAX_S, stdout=subprocess.DEVNULL)
    return json.loads(result.read_text())


def figures(report, sampler):
    """Returns what is shown of a run: medians over its rounds."""
    rounds = [phase for phase in report["phases"] if "round" in phase["name"]]
    if not rounds or report["violations"]:
        raise SystemExit(f"FAILED: {report['violations'] or 'no round was played'}")
    by_name = {figure["name"]: figure["value"] for figure in report["figures"]}
    found = {"p50": by_name["delivery p50"], "p99": by_name["delivery p99"], "nodes": by_name["CPU per delivery"]}
    delivered = [phase["delays"]["delivered"]["count"] for phase in rounds]
    sent = [phase["counts"]["sent"] for phase in rounds]
    took = [phase["to_s"] - phase["from_s"] for phase in rounds]
    found["messages"] = statistics.median(n / s for n, s in zip(sent, took))
    found["deliveries"] = statistics.median(n / s for n, s in zip(delivered, took))
    found["per_message"] = statistics.median(n / m for n, m in zip(delivered, sent))
    if sampler:
        origin = report["started_at_ms"] / 1000
        spans = [sampler.between(origin + phase["from_s"], origin + phase["to_s"]) for phase in rounds]
        for kind in KINDS:
            found[kind] = statistics.median(used[kind] * 1e6 / n for (used, _), n in zip(spans, delivered))
        found["idle"] = statistics.median(idle for _, idle in spans)
    return found


def show(row, name, found):
    """Prints a line of the table."""
    per = found["per_message"]
    services = [f"{found[kind] * per:,.0f}" if kind in found else "–" for kind in KINDS]
    all_us = sum(found.get(kind, 0) for kind in (*KINDS, "nodes")) * per
    cells = [row, name, f"{found['messages']:,.0f}", f"{found['deliveries']:,.0f}", f"{found['nodes'] * per:,.0f}", *services]
    cells += [f"{all_us:,.0f}", f"{found['p50']:.1f}, {found['p99']:.1f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)}; without any, all")
    parser.add_argument("--services", default="default", metavar="RUN", help="name of the run of ops/services (default: %(default)s)")
    parser.add_argument("--bin", type=pathlib.Path, default=TARGET / "release", metavar="DIR", help="(default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=10, help="of a round of B1 (default: %(default)s)")
    parser.add_argument("--messages", type=int, default=100, help="of a round of A3 (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="medians count (default: %(default)s)")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    for program in ("chinwag", "chinwag-loadtest"):
        if not os.access(options.bin / program, os.X_OK):
            parser.error(f"there is no {options.bin / program}: cargo build --release --locked --workspace --bins")
    name = f"bench-{os.getpid()}"
    cluster = [OPS / "cluster", "--name", name]
    up = [*cluster, "up", "3", "--services", options.services, "--bin", options.bin / "chinwag", "--with", str(os.getpid()), "--", "--unlimited"]
    print("| | | messages/s | deliveries/s | CPU of nodes | PostgreSQL | Redis | Cassandra | in all | p50, p99 ms |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    idle = []
    try:
        subprocess.run(up, check=True, stdout=subprocess.DEVNULL)
        fleet = Fleet(name)
        made = Run(options.services).made()
        roots = {kind: [service.pid() for service in made if service.kind == kind] for kind in KINDS}
        nodes = [word for node in fleet.nodes for word in ("--node", TARGET / "cluster" / name / node["name"] / "ports.json")]
        for row in options.rows or ROWS:
            show(row, "embedded", figures(play(options.bin, row, options, ["--server", options.bin / "chinwag"]), None))
            sampler = Sampler(roots)
            sampler.start()
            report = play(options.bin, row, options, nodes)
            sampler.over.set()
            sampler.join()
            found = figures(report, sampler)
            idle.append(f"{row} ({ROWS[row][0]}) {found['idle']:.0%}")
            show(row, "three nodes", found)
    finally:
        subprocess.run([*cluster, "wipe"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"CPU in microseconds per message. The processors were idle, while the cluster was measured, in {', '.join(idle)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

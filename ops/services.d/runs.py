"""A run: services that belong together, under one name, in one directory. Runs never share a port, a file or a process."""

import fcntl
import json
import os
import re
import secrets
import shlex
import shutil
import sys
import time
from contextlib import contextmanager

import processes
from cassandra import NODES_MAX, Cassandra
from packages import TARGET, say
from postgres import Postgres
from processes import Failure
from redis import Redis
from service import NotReady

RUNS = TARGET / "services"
# In the order in which they start: the one that takes longest goes first.
KINDS = ("cassandra", "redis", "postgres")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
POLL_S = 0.2
PORT_TRIES = 3
# How often whoever watches over a run looks whether the process that it belongs to is still there.
WATCH_S = 1


class Run:
    def __init__(self, name):
        if not NAME.fullmatch(name):
            raise Failure(f"a name is of a-z, 0-9 and '-', 32 characters at most: {name!r} isn't")
        self.name = name
        self.directory = RUNS / name
        self.file = self.directory / "run.json"
        self.facts = self.read()

    def read(self):
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    @property
    def password(self):
        return self.facts["password"]

    @property
    def nodes(self):
        """How many nodes Cassandra has."""
        return self.facts["nodes"]

    @property
    def fast_start(self):
        """Whether Cassandra starts in half the time, and is slower at its peak."""
        return self.facts.get("fast_start", False)

    def save(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        fresh = self.file.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(self.facts, out)
        fresh.rename(self.file)

    def create(self, nodes=None, fast_start=False):
        """Makes the run unless it is there; the number of nodes can't change, because each has its share of the data."""
        if nodes is not None and not 1 <= nodes <= NODES_MAX:
            raise Failure(f"--nodes takes 1 to {NODES_MAX}")
        if self.facts:
            if nodes not in (None, self.nodes) and self.first_cassandra().made:
                raise Failure(f"Cassandra has {self.nodes} node(s) here; ops/services wipe --name {self.name} cassandra first")
            if nodes not in (None, self.nodes):
                self.facts["nodes"] = nodes
                self.save()
            return
        self.facts = {"password": secrets.token_hex(16), "nodes": nodes or 1, "fast_start": fast_start}
        self.save()

    def first_cassandra(self):
        return Cassandra(self, 1)

    def services(self, kinds=()):
        """Returns the services of these kinds, or all, in the order in which they start."""
        found = []
        for kind in kinds or KINDS:
            if kind == "cassandra":
                found += [Cassandra(self, index) for index in range(1, self.nodes + 1)]
            else:
                found.append({"postgres": Postgres, "redis": Redis}[kind](self))
        return found

    def made(self, kinds=()):
        """Returns those that were started before."""
        return [service for service in self.services(kinds) if service.made] if self.facts else []

    # ---- what the commands do ---------------------------------------------------------------------------------

    def up(self, kinds, nodes=None, fast_start=False):
        with locked():
            # Somebody else may have made it while we waited.
            self.facts = self.read()
            self.create(nodes, fast_start)
            for service in self.services([kind for kind in KINDS if not kinds or kind in kinds]):
                if service.start():
                    say(f"{service.name}: started, pid {service.pid()}, {service.address}, log {service.log}")
                else:
                    say(f"{service.name}: runs already, pid {service.pid()}, {service.address}")

    def wait(self, kinds, timeout_s):
        """Waits until each answers what only it can answer."""
        waiting = self.made(kinds)
        unmade = set(kinds) - {service.kind for service in waiting}
        if unmade or not waiting:
            names = " or ".join(sorted(unmade)) or "anything"
            raise Failure(f"nobody has started {names} here: ops/services up --name {self.name}")
        begun, tries, reasons = time.monotonic(), 1, {}
        while waiting:
            for service in list(waiting):
                try:
                    # In this order: one that ends after it was seen alive is caught by the next round.
                    alive = service.alive()
                    service.check()
                    waiting.remove(service)
                    say(f"{service.name}: answers after {time.monotonic() - begun:.1f} s")
                    continue
                except NotReady as reason:
                    reasons[service.name] = reason
                if alive:
                    continue
                if tries < PORT_TRIES and service.port_was_taken():
                    tries += 1
                    waiting = self.move(service, waiting)
                    break
                raise Failure(f"{service.name} ended instead of starting; the end of {service.log}:\n{service.tail()}")
            if waiting and time.monotonic() - begun > timeout_s:
                service = waiting[0]
                raise Failure(
                    f"{service.name} doesn't answer after {timeout_s:.0f} s: {reasons[service.name]}; "
                    f"the end of {service.log}:\n{service.tail()}"
                )
            if waiting:
                time.sleep(POLL_S)

    def move(self, lost, waiting):
        """Starts a service again on other ports, because somebody else was quicker; returns what to wait for."""
        say(f"{lost.name}: its port was taken meanwhile, trying others")
        with locked():
            again = self.services([lost.kind])
            for service in again:
                service.stop()
            for service in again:
                service.start(other_ports=True)
        return again + [service for service in waiting if service.kind != lost.kind]

    def down(self, kinds=()):
        with locked():
            self.facts = self.read()
            for service in reversed(self.made(kinds)):
                ran = service.alive()
                by_itself = service.stop()
                service.state["known"] = service.known if service.in_container else None
                service.save()
                if ran:
                    say(f"{service.name}: stopped" if by_itself else f"{service.name}: didn't stop in time and was killed")
            if not kinds and self.facts:
                self.facts.pop("watcher", None)
                self.save()

    def wipe(self, kinds=()):
        """Stops them and removes their data; of all, also the run."""
        self.down(kinds)
        with locked():
            for service in self.made(kinds):
                service.wipe()
            if not kinds:
                shutil.rmtree(self.directory, ignore_errors=True)

    def variables(self, kinds=()):
        """Returns the variables by which tests find what runs."""
        found = {}
        for service in self.made(kinds):
            if not service.alive():
                raise Failure(f"{service.name} doesn't run: ops/services up --name {self.name}")
            name, value = service.variable()
            found[name] = f"{found[name]},{value}" if name in found else value
        if not found:
            raise Failure(f"nothing runs here: ops/services up --name {self.name}")
        return found

    def show_environment(self, kinds):
        for name, value in self.variables(kinds).items():
            print(f"export {name}={shlex.quote(value)}")

    def show_status(self, kinds):
        """Prints a line for each; returns whether all of them run."""
        services = self.made(kinds)
        if not services:
            print(f"{self.name}: nothing was started here")
            return False
        form = "{:<12} {:<5} {:>8} {:<18} {:>9} {:>9} {:>9}  {}"
        print(form.format("service", "state", "pid", "address", "memory", "on disk", "up", "how"))
        all_up = True
        for service in services:
            size = mebibytes(service.size_bytes())
            if service.alive():
                memory = mebibytes(service.resident_bytes())
                shown = ("up", service.pid(), service.address, memory, size, span(service.age_s()))
            else:
                all_up = False
                # Whoever stops one with `down` forgets its pid; this one ended in another way.
                died = service.known and not service.in_container
                shown = ("died" if died else "down", "", service.address, "", size, "")
            print(form.format(service.name, *shown, service.state["how"]))
        return all_up

    # ---- a run that ends with a process -----------------------------------------------------------------------

    def belong_to(self, pid, program):
        """Has somebody watch over the run and wipe it when process `pid` has ended, however it ends."""
        owner = processes.identify(pid)
        if not processes.alive(owner):
            raise Failure(f"there is no process {pid}")
        with locked():
            self.facts = self.read()
            if processes.alive(self.facts.get("watcher")):
                return
            command = [sys.executable, program, "watch", "--name", self.name, "--with", pid]
            self.facts["watcher"] = processes.start(command, RUNS, self.directory / "watch.log")
            self.save()

    def watch(self, pid):
        owner = processes.identify(pid)
        # Until whoever started us has written down that it did.
        with locked():
            pass
        while processes.alive(owner):
            time.sleep(WATCH_S)
            now = Run(self.name).facts.get("watcher")
            if not now or now["pid"] != os.getpid():
                return
        Run(self.name).wipe()


def install(kinds=()):
    """Makes sure that services can run here, without starting any."""
    unmade = Run("install")
    unmade.facts = {"nodes": 1}
    with locked():
        for service in unmade.services(kinds):
            say(f"{service.name}: ready to run as {'a container' if service.install() == 'docker' else 'a process'}")


@contextmanager
def locked():
    """Lets one command at a time start or stop services in this tree."""
    RUNS.mkdir(parents=True, exist_ok=True)
    with (RUNS / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another ops/services")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def mebibytes(size):
    return "" if size is None else f"{size / 1024 / 1024:.0f} MiB"


def span(seconds):
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    return f"{whole // 60}m{whole % 60:02}s" if whole < 3600 else f"{whole // 3600}h{whole % 3600 // 60:02}m"

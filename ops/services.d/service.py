"""What all services have in common: a directory, a state file that finds the process again, a log, and how to start and stop.

A service runs as a process where its packages are there, and in a container where they aren't and a Docker engine is. Which of
the two is kept in its state, because the data stays with it.
"""

import json
import os
import pathlib
import shutil
import signal

import containers
import packages
import ports
import processes
from processes import Failure

STOP_S = 60
# What each of our services, or the system, says when somebody else listens there.
PORT_TAKEN = ("Address already in use", "is in use by another process", "port is already allocated")


class NotReady(Exception):
    """A service that doesn't answer yet, and what it lacks."""


class Service:
    """One server of a run. Subclasses say what is different."""

    kind = ""
    # Programs that may be left over when their parent was killed.
    executables = ()
    port_names = ("client",)
    stop_signal = signal.SIGTERM

    def __init__(self, run, name=None, host="127.0.0.1"):
        self.run = run
        self.name = name or self.kind
        self.host = host
        self.directory = run.directory / self.name
        self.log = self.directory / "log"
        self.state_file = self.directory / "state.json"
        self.state = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}

    # ---- what a subclass says ---------------------------------------------------------------------------------

    def missing(self):
        """Returns the Debian packages that have to be installed before it can run here."""
        raise NotImplementedError

    def fetch(self):
        """Fetches what isn't a Debian package."""

    def prepare(self):
        """Makes the data directory and the settings, before each start."""

    def command(self):
        """Returns the command line, and the account it runs as (None: ours)."""
        raise NotImplementedError

    def container(self):
        """Returns the arguments of `containers.start` after the name."""
        raise NotImplementedError

    def check(self):
        """Asks the service something that only it can answer; raises NotReady."""
        raise NotImplementedError

    def variable(self):
        """Returns the variable by which tests find it, and its value."""
        raise NotImplementedError

    # ---- state ------------------------------------------------------------------------------------------------

    @property
    def known(self):
        return self.state.get("known")

    @property
    def in_container(self):
        return "container" in (self.known or {}) or self.state.get("how") == "docker"

    @property
    def made(self):
        """Whether it was ever started."""
        return bool(self.state)

    def port(self, name="client"):
        return self.state["ports"][name]

    @property
    def address(self):
        return f"{self.host}:{self.port()}"

    def alive(self):
        if not self.known:
            return False
        return containers.alive(self.known) if self.in_container else processes.alive(self.known)

    def save(self):
        fresh = self.state_file.with_suffix(".new")
        fresh.write_text(json.dumps(self.state, indent=1))
        fresh.rename(self.state_file)

    def tail(self, lines=25):
        return containers.tail(self.known, lines) if self.in_container and self.known else processes.tail(self.log, lines)

    def port_was_taken(self):
        return any(words in self.tail() for words in PORT_TAKEN)

    # ---- life -------------------------------------------------------------------------------------------------

    def install(self):
        """Makes sure that it can run here, one way or the other; returns which."""
        how = self.state.get("how")
        if how == "docker":
            return how
        names = self.missing()
        if names and how != "process" and packages.docker_answers():
            return "docker"
        if names:
            packages.apt_install(names)
            if still := self.missing():
                raise Failure(f"{self.name} can't run here: still missing after the installation: {' '.join(still)}")
        self.fetch()
        return "process"

    def hosts(self):
        return (self.host,)

    def choose_ports(self, fresh=False):
        """Keeps the ports of the last time if they are free, or takes others."""
        old = self.state.get("ports", {})
        if old and not fresh and all(ports.free(host, port) for host in self.hosts() for port in old.values()):
            return
        chosen = {}
        for name in self.port_names:
            chosen[name] = ports.choose(self.hosts(), [*chosen.values(), *old.values()])
        self.state["ports"] = chosen

    def start(self, other_ports=False):
        """Starts it unless it runs; it need not answer yet. Returns whether it had to."""
        if self.alive():
            return False
        self.directory.mkdir(parents=True, exist_ok=True)
        self.state["how"] = self.install()
        self.state["known"] = None
        if not self.in_container:
            processes.end_stragglers(self.workplace(), self.executables)
        self.choose_ports(fresh=other_ports)
        self.save()
        # What was said before says nothing about this start.
        self.log.unlink(missing_ok=True)
        if self.in_container:
            self.state["known"] = containers.start(self.container_name(), *self.container())
        else:
            self.prepare()
            command, user = self.command()
            self.state["known"] = processes.start(command, self.workplace(), self.log, user)
        self.save()
        return True

    def stop(self):
        """Ends it and all that belongs to it; returns whether it ran and ended by itself."""
        if self.in_container:
            if self.known:
                containers.stop(self.known)
            return True
        by_itself = processes.stop(self.known, self.stop_signal, STOP_S) if self.alive() else True
        processes.end_stragglers(self.workplace(), self.executables)
        return by_itself

    def wipe(self):
        """Removes its data; it must not run."""
        if self.in_container:
            containers.wipe(self.container_name())
        place = self.directory / "data"
        if place.is_symlink():
            shutil.rmtree(place.resolve(), ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def container_name(self):
        return f"chinwag-{self.run.name}-{self.name}"

    def workplace(self):
        """Returns the directory that the process works in: all that belongs to it is found by that."""
        return self.directory

    # ---- what to show -----------------------------------------------------------------------------------------

    def pid(self):
        return containers.pid(self.known) if self.in_container else self.known["pid"]

    def age_s(self):
        return containers.age_s(self.known) if self.in_container else processes.age_s(self.known)

    def resident_bytes(self):
        return None if self.in_container else processes.resident_bytes(self.known)

    def size_bytes(self):
        """Returns what its data takes on disk; 0 for a container's volume, which only Docker sees."""
        total = 0
        for place, _, files in os.walk(self.directory / "data"):
            for file in files:
                try:
                    total += (pathlib.Path(place) / file).stat().st_blocks * 512
                except OSError:
                    pass
        return total

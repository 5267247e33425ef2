"""A cluster on this machine: nodes of one program on the same services, a proxy before them, and the file that tells where they are."""

import fcntl
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import packages
import ports
import processes
import proxies
from cql import Connection, CqlError
from packages import TARGET, say
from postgres import ROLE
from processes import Failure
from runs import Run

CLUSTERS = TARGET / "cluster"
LISTENERS = ("http", "messenger", "presence", "ops")
NODES_MAX = 32
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
# A node that is told to stop sends its clients away over its drain window first.
STOP_S = 60
PROXY_STOP_S = 5
READY_S = 60
POLL_S = 0.1
WATCH_S = 1
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "cont": signal.SIGCONT}


class Cluster:
    """What `cluster.json` says, and what can be done about it."""

    def __init__(self, name):
        if not NAME.fullmatch(name):
            raise Failure(f"a name is of a-z, 0-9 and '-', 32 characters at most: {name!r} isn't")
        self.name = name
        self.directory = CLUSTERS / name
        self.file = self.directory / "cluster.json"
        self.facts = json.loads(self.file.read_text()) if self.file.exists() else {}

    @property
    def nodes(self):
        return self.facts.get("nodes", [])

    @property
    def proxy(self):
        return self.facts.get("proxy")

    @property
    def run(self):
        """The services that it lives on."""
        return Run(self.facts["services"]["run"])

    def save(self):
        """Writes it whole or not at all: others read it at any time. The password in it is nobody else's business."""
        fresh = self.file.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(self.facts, out, indent=1)
            out.write("\n")
        fresh.rename(self.file)

    def member(self, name):
        """Returns a node, or the proxy, by its name."""
        for member in self.members():
            if member["name"] == name:
                return member
        raise Failure(f"{self.name} has no {name!r}; there are {', '.join(m['name'] for m in self.members()) or 'none'}")

    def members(self):
        return [*self.nodes, *([self.proxy] if self.proxy else [])]

    # ---- making it --------------------------------------------------------------------------------------------

    def create(self, count, program, proxy, services, flags):
        """Makes its directory, its stores and the addresses; starts nothing but the services."""
        if not 1 <= count <= NODES_MAX:
            raise Failure(f"a cluster has 1 to {NODES_MAX} nodes here")
        if not os.access(program, os.X_OK):
            raise Failure(f"there is no program {program}: cargo build -p chinwag, or --bin")
        if proxy and not proxies.program(proxy):
            packages.apt_install([proxies.PACKAGES[proxy]])
        run = Run(services)
        run.up(())
        run.wait((), 180)
        self.directory.mkdir(parents=True, exist_ok=True)
        mark = f"{self.name.replace('-', '_')}_{secrets.token_hex(3)}"
        variables = Run(services).variables()
        self.facts = {
            "name": self.name,
            "program": str(program),
            "flags": flags,
            "services": {
                "run": services,
                "postgres": variables["TEST_POSTGRES_URL"].removesuffix(ROLE) + f"chinwag_{mark}",
                "scylla": variables["TEST_SCYLLA"],
                "scylla_keyspace": f"chinwag_{mark}",
                "redis": variables["TEST_REDIS_URL"],
                "redis_prefix": f"chinwag-{mark}",
            },
            "cluster_key_file": str(self.directory / "cluster.key"),
            "nodes": [],
            "proxy": None,
        }
        self.ask_postgres(f"CREATE DATABASE chinwag_{mark}")
        key = self.directory / "cluster.key"
        key.unlink(missing_ok=True)
        subprocess.run([program, "cluster-key", key], check=True, stdout=subprocess.DEVNULL)
        taken = []

        def address():
            taken.append(ports.choose(taken=taken))
            return f"127.0.0.1:{taken[-1]}"

        for index in range(1, count + 1):
            node = {"name": f"n{index}", "pid": None} | {kind: address() for kind in LISTENERS}
            node |= {"data": str(self.directory / node["name"]), "log": str(self.directory / f"{node['name']}.log")}
            self.facts["nodes"].append(node)
        if proxy:
            front = {"name": "proxy", "kind": proxy, "pid": None, "log": str(self.directory / "proxy.log")}
            self.facts["proxy"] = front | {kind: address() for kind in (*proxies.KINDS, "stats")}
        self.save()

    def command(self, node):
        services = self.facts["services"]
        command = [self.facts["program"], "serve", "--node", node["name"], "--data", node["data"]]
        for kind in LISTENERS:
            command += [f"--{kind}", node[kind]]
        # The password comes in a variable: the process list is everybody's.
        postgres = re.sub(r":[^:@/]+@", "@", services["postgres"])
        command += ["--postgres", postgres, "--redis", services["redis"], "--redis-prefix", services["redis_prefix"]]
        for address in services["scylla"].split(","):
            command += ["--scylla", address]
        copies = len(services["scylla"].split(","))
        command += ["--scylla-keyspace", services["scylla_keyspace"], "--scylla-replication", str(copies)]
        command += ["--cluster-key-file", self.facts["cluster_key_file"]]
        if self.proxy:
            # Guests would be off then.
            command += ["--trusted-proxies", "127.0.0.1/32", "--guests", "on"]
            # All clients have one address here, and the proxy says so.
            command += ["--max-sockets-per-address", str(proxies.sockets_max())]
        return [*command, *self.facts["flags"]]

    # ---- its members ------------------------------------------------------------------------------------------

    def launch(self, member):
        """Starts a member unless it runs; it need not answer yet."""
        if processes.alive(member.get("known")):
            return
        if member is self.proxy:
            command = proxies.write(member["kind"], member, self.nodes, self.directory)
            variables = {}
        else:
            command, variables = self.command(member), {"CHINWAG_POSTGRES_PASSWORD": self.run.password}
        log = self.directory / f"{member['name']}.log"
        member["known"] = processes.start(command, self.directory, log, variables=variables)
        member["pid"] = member["known"]["pid"]
        self.save()

    def wait(self, members, timeout_s):
        """Waits until each answers /health with 200."""
        begun = time.monotonic()
        for member in members:
            while not answers(member["http"]):
                log = self.directory / f"{member['name']}.log"
                if not processes.alive(member.get("known")):
                    raise Failure(f"{member['name']} ended instead of starting; the end of {log}:\n{processes.tail(log)}")
                if time.monotonic() - begun > timeout_s:
                    raise Failure(f"{member['name']} doesn't answer after {timeout_s} s; the end of {log}:\n{processes.tail(log)}")
                time.sleep(POLL_S)
            say(f"{member['name']}: answers after {time.monotonic() - begun:.1f} s, pid {member['pid']}, http {member['http']}")

    def end(self, member, patience_s):
        """Ends a member with SIGTERM, or by force if it takes too long."""
        if not processes.alive(member.get("known")):
            return
        begun = time.monotonic()
        by_itself = processes.stop(member["known"], signal.SIGTERM, patience_s)
        say(f"{member['name']}: {'stopped' if by_itself else 'killed'} after {time.monotonic() - begun:.1f} s")

    def up(self, timeout_s):
        for node in self.nodes:
            self.launch(node)
        self.wait(self.nodes, timeout_s)
        if self.proxy:
            self.launch(self.proxy)
            self.wait([self.proxy], timeout_s)

    def signal(self, order, name):
        """Sends a node what `kill`, `stop` or `cont` stand for; `term` also waits for its end."""
        member = self.member(name)
        if not processes.alive(member.get("known")):
            raise Failure(f"{name} doesn't run: ops/cluster start {name} --name {self.name}")
        if order == "term":
            self.end(member, STOP_S)
            return
        processes.send(member["known"]["pid"], SIGNALS[order])
        if order == "kill":
            processes.gone(member["known"], processes.KILL_PATIENCE_S)

    def down(self):
        """Ends all, the proxy first, the nodes together: each drains its clients for a while."""
        if self.proxy:
            self.end(self.proxy, PROXY_STOP_S)
        for node in self.nodes:
            if processes.alive(node.get("known")):
                processes.send(node["known"]["pid"], signal.SIGTERM)
        for node in self.nodes:
            self.end(node, STOP_S)
        if self.facts:
            self.facts.pop("watcher", None)
            self.save()

    def wipe(self):
        """Ends all and removes what it stored here and in the services, if they still run."""
        self.down()
        if self.facts:
            try:
                self.drop_stores()
            except Failure as failure:
                say(f"its stores stay: {failure}")
        shutil.rmtree(self.directory, ignore_errors=True)

    def drop_stores(self):
        services = self.facts["services"]
        try:
            self.run.variables()
        except Failure:
            return
        self.ask_postgres(f"DROP DATABASE IF EXISTS {services['postgres'].rsplit('/', 1)[1]} WITH (FORCE)")
        try:
            host, port = services["scylla"].split(",")[0].split(":")
            with Connection(host, int(port), timeout_s=30) as connection:
                connection.rows(f"DROP KEYSPACE IF EXISTS {services['scylla_keyspace']}")
        except (OSError, CqlError) as error:
            say(f"its keyspace {services['scylla_keyspace']} stays: {error}")
        forget_keys(services["redis"].removeprefix("redis://"), services["redis_prefix"])

    def ask_postgres(self, order):
        postgres = self.run.made(("postgres",))[0]
        if postgres.asked(["psql", "--no-psqlrc", "--quiet", "--command", order]) is None:
            raise Failure(f"PostgreSQL refuses: {order}")

    def show_status(self):
        """Prints a line for each member; returns whether all of them run and answer."""
        if not self.facts:
            print(f"{self.name}: there is no such cluster")
            return False
        form = "{:<8} {:<8} {:>8} {:<17} {:<17} {:<17} {:<17} {:>9}"
        print(form.format("node", "state", "pid", *LISTENERS, "memory"))
        all_up = True
        for member in self.members():
            known = member.get("known")
            memory, state = "", "down"
            if processes.alive(known):
                memory = f"{processes.resident_bytes(known) / 1024 / 1024:.0f} MiB"
                state = "up" if answers(member["http"]) else "silent"
            all_up = all_up and state == "up"
            addresses = [member.get(kind, "") for kind in LISTENERS]
            print(form.format(member["name"], state, member["pid"] or "", *addresses, memory))
        return all_up

    # ---- a cluster that ends with a process -------------------------------------------------------------------

    def belong_to(self, pid, program):
        """Has somebody watch over the cluster and wipe it when process `pid` has ended, however it ends."""
        if processes.alive(self.facts.get("watcher")):
            return
        command = [sys.executable, program, "watch", "--name", self.name, "--with", pid]
        self.facts["watcher"] = processes.start(command, CLUSTERS, self.directory / "watch.log")
        self.save()

    def watch(self, pid):
        owner = processes.identify(pid)
        # Until whoever started us has written down that it did.
        with locked(self.name):
            pass
        while processes.alive(owner):
            time.sleep(WATCH_S)
            now = Cluster(self.name).facts.get("watcher")
            if not now or now["pid"] != os.getpid():
                return
        with locked(self.name):
            Cluster(self.name).wipe()


@contextmanager
def locked(name):
    """Lets one command at a time change a cluster."""
    CLUSTERS.mkdir(parents=True, exist_ok=True)
    with (CLUSTERS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def answers(address):
    """Asks /health; a node that drains, or a proxy without nodes, doesn't say 200."""
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def forget_keys(address, prefix):
    """Removes the keys of a cluster from Redis."""
    host, port = address.split(":")
    script = (
        "local at = '0' repeat local found = redis.call('SCAN', at, 'MATCH', ARGV[1], 'COUNT', 1000) at = found[1] "
        "for _, key in ipairs(found[2]) do redis.call('UNLINK', key) end until at == '0'"
    )
    words = ("EVAL", script, "0", f"{prefix}*")
    order = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    try:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(order.encode())
            connection.recv(100)
    except OSError as error:
        say(f"its keys {prefix}* stay: {error}")

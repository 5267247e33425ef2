"""A cluster that runs: where its nodes are, who owns a conversation, and what can be done to it while clients talk."""

import asyncio
import http.client
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

OPS = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", OPS.parent / "target"))
# Passwords are hashed on half the processors of each node; more at once only wait.
LOGINS_AT_ONCE = 6
REST_S = 60
# Single actors that a node tells at once.
BUSIEST = 100


class Fleet:
    def __init__(self, name):
        self.name = name
        self.file = TARGET / "cluster" / name / "cluster.json"
        if not self.file.exists():
            raise SystemExit(f"there is no cluster {name}: ops/cluster up 3 --name {name}")
        self.facts = json.loads(self.file.read_text())
        self.nodes, self.services = self.facts["nodes"], self.facts["services"]

    def addresses(self, through_proxy=False):
        """Returns where native clients and REST go."""
        if not through_proxy:
            return [node["http"] for node in self.nodes]
        if not self.facts["proxy"]:
            raise SystemExit(f"the cluster {self.name} has no proxy: ops/cluster up 3 --proxy haproxy")
        return [self.facts["proxy"]["http"]]

    async def order(self, what, node):
        """Gives `ops/cluster` an order about a node, by its name, and waits until it is done."""
        print(f"    {what} {node}", flush=True)
        command = [OPS / "cluster", what, node, "--name", self.name]
        await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)

    async def owner(self, talk, but=()):
        """Returns the name of the node on which a busy conversation lives."""
        for _ in range(50):
            for node in self.nodes:
                if node["name"] not in but and await asyncio.to_thread(has_awake, node["ops"], talk):
                    return node["name"]
            await asyncio.sleep(0.2)
        raise SystemExit(f"FAILED: no node says that it has the {talk.kind} {talk.id}")

    async def wipe_redis(self):
        """Empties Redis, for every cluster that shares it."""
        print("    wipe Redis", flush=True)
        host, port = self.services["redis"].removeprefix("redis://").split("/")[0].split(":")
        with socket.create_connection((host, int(port)), timeout=10) as redis:
            redis.sendall(b"FLUSHALL\r\n")
            if not redis.recv(64).startswith(b"+OK"):
                raise SystemExit("FAILED: Redis wasn't wiped")

    async def cassandra(self, what, index):
        """Kills a node of Cassandra, or starts what was killed and waits until it answers."""
        print(f"    {what} cassandra {index}", flush=True)
        run = self.services["run"]
        if what == "start":
            command = [OPS / "services", "up", "cassandra", "--name", run]
            await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
            return
        sys.path[:0] = [str(OPS / "services.d")]
        from runs import Run

        made = [service for service in Run(run).made(("cassandra",)) if service.index == index]
        if not made or not made[0].alive():
            raise SystemExit(f"the services {run} have no Cassandra {index} that runs: ops/services up --nodes 3")
        os.kill(made[0].pid(), signal.SIGKILL)

    def users(self, names):
        """Registers users, each at the next node; returns their access tokens, in order."""
        addresses = self.addresses()

        def make(n):
            who = {"username": names[n], "password": f"a long password of {names[n]}"}
            address = addresses[n % len(addresses)]
            post(address, "/api/auth/register", who)
            return post(address, "/api/auth/login", who)["token"]

        with ThreadPoolExecutor(LOGINS_AT_ONCE) as pool:
            return list(pool.map(make, range(len(names))))


def post(address, path, body):
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=REST_S)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status >= 300:
        raise OSError(f"{path}: {answer.status} {text}")
    return json.loads(text)


def has_awake(ops, talk):
    """Asks a node whether it has a conversation awake and serves it."""
    host, port = ops.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=2)
    try:
        connection.request("GET", f"/admin/actors?kind={talk.kind}&top={BUSIEST}")
        answer = connection.getresponse()
        told = json.loads(answer.read())
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    # A kind without an actor is unknown there.
    states = [actor["state"] or {} for actor in told.get("busiest", [])]
    return any(str(state.get("conversation")) == talk.id and state.get("phase") == "ready" for state in states)


def many_sockets(count):
    """Lets this process open so many, or says that it can't."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + 100
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(f"FAILED: {needed} open files are needed, {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


def fresh_names(prefix, count):
    """Returns names that nobody had before."""
    mark = f"{int(time.time() * 1000):x}"[-8:]
    return [f"{prefix}{n}-{mark}" for n in range(count)]

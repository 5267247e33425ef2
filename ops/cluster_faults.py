#!/usr/bin/env python3
"""Talks through a cluster while its nodes are killed, stopped and restarted and Redis is wiped, and checks what everybody heard.

    ops/cluster_faults.py [--name NAME] [--members N] [--faults kill,stop,term,wipe]

The cluster runs already (`ops/cluster up 3`). Members of one group, spread over the nodes, write all the time. A member whose node is gone
goes to another one and resumes, as a client of ops/protocol/native.md does: everything unanswered is sent again under its message id. At
the end each member must have heard every event from its joining on, once and in order, and the history must hold every message that was
acknowledged, once. It tells for how long nobody's message was acknowledged and for how long a member had no socket.
"""

import argparse
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "ops")]
sys.dont_write_bytecode = True

from readme_talk import Client, uuid_v7  # noqa: E402

# Between two messages of one member.
WRITE_EVERY_S = 0.1
# How long after a fault something must be acknowledged again, and how long a client may be without a socket.
POSTING_BACK_S = 10
SOCKET_BACK_S = 10
CALM_S = 4
SETTLE_S = 60


def post(address: str, path: str, body: dict) -> dict:
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status >= 300:
        raise OSError(f"{path}: {answer.status} {text}")
    return json.loads(text)


class Nodes:
    """The addresses of the nodes, by turns."""

    def __init__(self, name: str):
        self.name = name
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        path = target / "cluster" / name / "cluster.json"
        cluster = json.loads(path.read_text())
        self.nodes, self.redis = cluster["nodes"], cluster["services"]["redis"]

    def address(self, n: int) -> str:
        http_address = self.nodes[n % len(self.nodes)]["http"]
        return http_address if isinstance(http_address, str) else http_address[0]

    def do(self, what: str, n: int) -> None:
        node = self.nodes[n % len(self.nodes)]["name"]
        print(f"    {what} {node}", flush=True)
        subprocess.run([ROOT / "ops" / "cluster", what, node, "--name", self.name], check=True, stdout=subprocess.DEVNULL)


    def wipe_redis(self) -> None:
        """Empties Redis, for every cluster that shares it."""
        print("    wipe Redis", flush=True)
        host, port = self.redis.removeprefix("redis://").split("/")[0].split(":")
        with socket.create_connection((host, int(port)), timeout=10) as redis:
            redis.sendall(b"FLUSHALL\r\n")
            if not redis.recv(64).startswith(b"+OK"):
                raise SystemExit("FAILED: Redis wasn't wiped")


class Member(threading.Thread):
    """A user with one native client."""

    def __init__(self, nodes: Nodes, n: int, token: str, group: dict):
        super().__init__(daemon=True, name=f"member {n}")
        self.nodes, self.n, self.token, self.group = nodes, n, token, group
        self.at = n
        self.lock = threading.Lock()
        self.heard: dict[int, str] = {}
        self.first = None
        self.upto = 0
        self.unanswered: dict[str, str] = {}
        self.acknowledged: dict[str, int] = {}
        self.acknowledged_at: list[float] = []
        self.errors: list[str] = []
        self.without_socket_s = 0.0
        self.writing, self.done = True, False
        self.sent = 0

    def run(self) -> None:
        while not self.done:
            lost_at = time.monotonic()
            client = self.connect()
            if client is None:
                return
            if self.first is not None:
                self.without_socket_s = max(self.without_socket_s, time.monotonic() - lost_at)
            try:
                self.talk(client)
            except (OSError, ValueError, SystemExit):
                pass
            client.socket.close()
            self.at += 1

    def connect(self) -> Client | None:
        while not self.done:
            try:
                client = Client(f"ws://{self.nodes.address(self.at)}/ws", "chinwag.v1", [])
                client.socket.settimeout(5)
                hello = {"id": "hello", "type": "hello", "protocol": 1, "token": self.token}
                if self.first is not None:
                    hello["positions"] = {self.group["id"]: {"epoch": self.group["epoch"], "seq": self.upto}}
                client.send(json.dumps(hello))
                welcome = client.expect("welcome", lambda frame: frame.get("id") == "hello")
                if "result" in welcome:
                    for resumed in welcome["result"].get("resumed", []):
                        if resumed["outcome"] != "replayed":
                            self.errors.append(f"resumed with {resumed}")
                    # What came before the reply is none of this session's.
                    early = [frame for frame in client.seen if frame.get("id") != "hello"]
                    client.seen.clear()
                    for frame in early:
                        self.take(frame, client)
                    return client
            except (OSError, ValueError, SystemExit):
                pass
            self.at += 1
            time.sleep(0.2)
        return None

    def talk(self, client: Client) -> None:
        if self.first is None:
            client.send(json.dumps({"id": "join", "type": "group.join", "conversation": self.group["id"]}))
        for message_id, content in list(self.unanswered.items()):
            self.send(client, message_id, content)
        client.socket.settimeout(WRITE_EVERY_S)
        quiet_since, write_at = time.monotonic(), time.monotonic()
        while not self.done:
            now = time.monotonic()
            if self.writing and self.first is not None and now >= write_at:
                write_at = now + WRITE_EVERY_S
                if len(self.unanswered) < 20:
                    self.sent += 1
                    message_id, content = uuid_v7(), f"{self.sent} of {self.n}"
                    self.unanswered[message_id] = content
                    self.send(client, message_id, content)
            frame = self.read(client)
            if frame is None:
                # Nothing answers: this node is stopped, or gone without a word.
                if self.unanswered and time.monotonic() - quiet_since > 3:
                    return
                continue
            quiet_since = time.monotonic()
            self.take(frame, client)

    @staticmethod
    def read(client: Client) -> dict | None:
        try:
            client.socket.settimeout(WRITE_EVERY_S)
            if not client.socket.recv(1, socket.MSG_PEEK):
                raise OSError("closed")
        except TimeoutError:
            return None
        client.socket.settimeout(5)
        return client.read()

    def send(self, client: Client, message_id: str, content: str) -> None:
        frame = {"id": message_id, "type": "send", "conversation": self.group["id"], "message_id": message_id}
        client.send(json.dumps({**frame, "content": content}))

    def take(self, frame: dict, client: Client) -> None:
        event, of = frame.get("event"), frame.get("id")
        if event == "gap":
            self.errors.append(f"a gap: {frame}")
        elif event is not None and event != "pointer" and frame.get("conversation") == self.group["id"] and "seq" in frame:
            self.note(frame["seq"], frame.get("message_id") or event)
        elif event == "drain":
            raise OSError("drained")
        elif of == "join":
            # Its own event tells the place.
            self.first = self.first if self.first is not None else 0
            if "error" in frame:
                raise OSError(frame["error"]["message"])
        elif of in self.unanswered:
            if "error" in frame:
                if not frame["error"]["retryable"]:
                    self.errors.append(f"refused for good: {frame}")
                time.sleep(0.2)
                self.send(client, of, self.unanswered[of])
                return
            self.unanswered.pop(of)
            self.acknowledged[of] = frame["result"]["seq"]
            self.acknowledged_at.append(time.monotonic())
            self.note(frame["result"]["seq"], of)

    def note(self, seq: int, what: str) -> None:
        known = self.heard.get(seq)
        if known is not None and known != what and "message" not in (known, what):
            self.errors.append(f"{seq} was {known} and {what}")
        self.heard[seq] = what
        if self.first in (None, 0):
            self.first, self.upto = seq, seq - 1
        while self.upto + 1 in self.heard:
            self.upto += 1


def history(nodes: Nodes, token: str, group: str) -> list[dict]:
    for n in range(len(nodes.nodes)):
        try:
            client = Client(f"ws://{nodes.address(n)}/ws", "chinwag.v1", [])
            client.send(json.dumps({"id": "hello", "type": "hello", "protocol": 1, "token": token}))
            client.expect("welcome", lambda frame: frame.get("id") == "hello")
            events, before = [], None
            while True:
                ask = {"id": f"page {before}", "type": "history", "conversation": group, "limit": 200}
                client.send(json.dumps(ask | ({"before": before} if before else {})))
                page = client.expect("a page", lambda frame, ask=ask: frame.get("id") == ask["id"])["result"]
                events = page["events"] + events
                if page["complete"]:
                    return events
                before = page["events"][0]["seq"]
        except OSError:
            continue
    raise SystemExit("FAILED: no node answers")


def fault(kind: str, n: int, nodes: Nodes) -> None:
    if kind == "kill":
        nodes.do("kill", n)
        time.sleep(POSTING_BACK_S)
        nodes.do("start", n)
    elif kind == "term":
        nodes.do("term", n)
        nodes.do("start", n)
    elif kind == "stop":
        nodes.do("stop", n)
        time.sleep(15)
        nodes.do("cont", n)
    elif kind == "wipe":
        nodes.wipe_redis()
        time.sleep(POSTING_BACK_S)
    else:
        raise SystemExit(f"there is no fault '{kind}': kill, term, stop, wipe")
    time.sleep(CALM_S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="default", help="of the cluster")
    parser.add_argument("--members", type=int, default=9)
    parser.add_argument("--faults", default="kill,term,stop,wipe", help="one after the other, each to the next node")
    options = parser.parse_args()
    nodes = Nodes(options.name)
    tokens = []
    run = uuid_v7()[:13].replace("-", "")
    for n in range(options.members):
        name = f"m{n}x{run}"[:30]
        who = {"username": name, "password": f"a long password of {name}"}
        post(nodes.address(n), "/api/auth/register", who)
        tokens.append(post(nodes.address(n), "/api/auth/login", who)["token"])
    maker = Client(f"ws://{nodes.address(0)}/ws", "chinwag.v1", [])
    maker.send(json.dumps({"id": "hello", "type": "hello", "protocol": 1, "token": tokens[0]}))
    epoch = maker.expect("welcome", lambda frame: frame.get("id") == "hello")["result"]["epoch"]
    maker.send(json.dumps({"id": "make", "type": "group.create", "name": "faults"}))
    made = maker.expect("a group", lambda frame: frame.get("id") == "make")["result"]["conversation"]
    group = {"id": made["id"], "epoch": epoch}
    members = [Member(nodes, n, token, group) for n, token in enumerate(tokens)][1:]
    for member in members:
        member.start()
    time.sleep(CALM_S)
    for n, kind in enumerate(filter(None, options.faults.split(","))):
        fault(kind, n, nodes)
    for member in members:
        member.writing = False
    until = time.monotonic() + SETTLE_S
    while time.monotonic() < until:
        tops = {member.upto for member in members}
        if len(tops) == 1 and not any(member.unanswered for member in members):
            break
        time.sleep(0.2)
    events = history(nodes, tokens[0], group["id"])
    for member in members:
        member.done = True
    return check(members, events)


def check(members: list[Member], events: list[dict]) -> int:
    problems = [f"{member.name}: {error}" for member in members for error in member.errors]
    seqs = [event["seq"] for event in events]
    if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
        problems.append("the history has a hole")
    ids = [event["message_id"] for event in events if event.get("message_id")]
    if len(ids) != len(set(ids)):
        problems.append("the history holds a message twice")
    stored = {event.get("message_id"): event["seq"] for event in events}
    head = seqs[-1]
    for member in members:
        for message_id, seq in member.acknowledged.items():
            if stored.get(message_id) != seq:
                problems.append(f"{member.name}: acknowledged at {seq}, in the history at {stored.get(message_id)}")
        if member.unanswered:
            problems.append(f"{member.name}: {len(member.unanswered)} messages were never answered")
        if member.upto != head:
            problems.append(f"{member.name}: heard all up to {member.upto}, the head is {head}")
    at = sorted(when for member in members for when in member.acknowledged_at)
    pause = max((later - earlier for earlier, later in zip(at, at[1:])), default=0.0)
    away = max(member.without_socket_s for member in members)
    count = sum(len(member.acknowledged) for member in members)
    print(f"    {count} messages of {len(members)} members; longest time without an acknowledgement {pause:.1f} s, "
          f"without a socket {away:.1f} s")
    if pause > POSTING_BACK_S + 2:
        problems.append(f"for {pause:.1f} s no message was acknowledged")
    for problem in problems[:20]:
        print(f"FAILED: {problem}", file=sys.stderr)
    if len(problems) > 20:
        print(f"FAILED: and {len(problems) - 20} more", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

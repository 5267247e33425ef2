#!/usr/bin/env python3
"""Talks through a cluster while its nodes are killed, stopped and restarted and its services are lost, and checks what everybody heard.

    ops/cluster_faults.py [--name NAME] [--members N] [--faults kill,roll,stop,wipe] [--stop-s S] [--through-proxy]

The cluster runs already (`ops/cluster up 3`). Members of a group and of a room, spread over the nodes, write in both all the time; whoever
loses its node goes to another one and resumes, as a client of ops/protocol/native.md does. One after the other:

    kill   SIGKILL of the node that owns the busy room; 10 s later it is started again
    term   SIGTERM of the group's owner, and its start
    roll   the same of all nodes, one after the other
    stop   SIGSTOP of the group's owner for --stop-s; a witness stays on its socket there and writes into it meanwhile
    wipe   FLUSHALL on Redis, for every cluster that shares it
    cassandra  SIGKILL of one of three nodes of Cassandra (`ops/services up --nodes 3`), and its start

At the end each member must have heard every event from its joining on, and the history must hold every message that was acknowledged, once
(ops/cluster.d/members.py). What comes twice on one socket, or late, clients ignore: it is counted, and a failure with --strict. No error may
be one that a client can't mend by asking again. Both conversations must take messages again within 10 s of whatever happened, and nobody may
be without a socket for more than 5 s because of a restart, 10 s of the rest.
"""

import argparse
import asyncio
import pathlib
import sys
import time
from collections import Counter

OPS = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(OPS / "cluster.d")]

from cluster_crowd import make_talks  # noqa: E402
from fleet import Fleet, fresh_names  # noqa: E402
from members import Member, living, settled  # noqa: E402
from verdicts import check, history, report  # noqa: E402

# Between two messages of one member, in each talk by turns.
WRITE_EVERY_S = 0.1
# How long after a fault something must be acknowledged again in each talk.
POSTING_BACK_S = 10
# For how long a client may be without a socket.
SOCKET_BACK_S = {"term": 5, "roll": 5}
SOCKET_BACK_ELSE_S = 10
CALM_S = 4
SETTLE_S = 60


class Play:
    def __init__(self, fleet, options):
        self.fleet, self.options = fleet, options
        self.addresses = fleet.addresses(options.through_proxy)
        self.members, self.witnesses, self.spans, self.problems = [], [], [], []

    async def run(self):
        names = fresh_names("m", self.options.members + 2)
        tokens = await asyncio.to_thread(self.fleet.users, names)
        # The witness is none of those whose socket must come back; who makes a room is a member of it, the others are listeners.
        *self.tokens, self.witness_token, maker_token = tokens
        self.group, self.room = await make_talks(self.addresses, maker_token, names[0].split("-")[1])
        for n, token in enumerate(self.tokens):
            credentials = lambda token=token: {"token": token}
            self.members.append(Member(names[n], self.addresses, n, credentials, [self.group, self.room], WRITE_EVERY_S))
        async with living(self.members):
            await asyncio.sleep(CALM_S)
            for kind in filter(None, self.options.faults.split(",")):
                begun = time.monotonic()
                await getattr(self, kind)()
                await asyncio.sleep(CALM_S)
                self.tell(kind, begun)
            if not await settled(self.members, SETTLE_S):
                self.problems.append(f"not everybody had heard everything {SETTLE_S} s after the last message")
            everybody = self.members + self.witnesses
            for talk in (self.group, self.room):
                events = await history(self.addresses, lambda: {"token": maker_token}, talk)
                self.problems += check(talk, self.members, events)
                self.problems += seen_by(self.witnesses, talk, events)
                if not talk.acknowledged_at:
                    self.problems.append(f"nobody could write in the {talk.kind}")
        self.problems += [error for member in everybody for error in member.errors]
        out_of_turn = [what for member in everybody for what in member.out_of_turn]
        if self.options.strict:
            self.problems += out_of_turn
        elif out_of_turn:
            print(f"    {len(out_of_turn)} times a socket was handed events that it had, or later ones first (--strict shows them)")
        count = sum(len(heard.acknowledged) for member in everybody for heard in member.heard.values())
        refused = sum((member.refused for member in everybody), Counter())
        ends = sum((member.ends for member in everybody), Counter())
        print(f"    {count} messages of {len(self.members)} members; refused for now {dict(refused)}; sockets {dict(ends)}")
        return report(self.problems)

    # ---- what happens -----------------------------------------------------------------------------------------

    async def kill(self):
        owner = await self.fleet.owner(self.room)
        await self.fleet.order("kill", owner)
        await asyncio.sleep(POSTING_BACK_S)
        await self.fleet.order("start", owner)

    async def term(self):
        await self.restart(await self.fleet.owner(self.group))

    async def roll(self):
        for node in self.fleet.nodes:
            await self.restart(node["name"])
            await asyncio.sleep(1)

    async def restart(self, node):
        await self.fleet.order("term", node)
        await self.fleet.order("start", node)

    async def stop(self):
        owner = await self.fleet.owner(self.group)
        address = next(node["http"] for node in self.fleet.nodes if node["name"] == owner)
        credentials = lambda: {"token": self.witness_token}
        witness = Member(f"witness at {owner}", [address], 0, credentials, [self.group, self.room], WRITE_EVERY_S, patient=True)
        self.witnesses.append(witness)
        async with living([witness]):
            await asyncio.sleep(1)
            await self.fleet.order("stop", owner)
            await asyncio.sleep(self.options.stop_s)
            elsewhere = await self.fleet.owner(self.group, but=[owner])
            print(f"    the group is on {elsewhere} now", flush=True)
            await self.fleet.order("cont", owner)
            # What it had for its sockets, and what it was sent meanwhile, comes now.
            await asyncio.sleep(CALM_S)
            witness.writing = False
            await asyncio.sleep(CALM_S)

    async def wipe(self):
        await self.fleet.wipe_redis()
        await asyncio.sleep(POSTING_BACK_S)

    async def cassandra(self):
        await self.fleet.cassandra("kill", 2)
        await asyncio.sleep(POSTING_BACK_S + CALM_S)
        await self.fleet.cassandra("start", 2)

    # ---- and how that was -------------------------------------------------------------------------------------

    def tell(self, kind, begun):
        """Holds what happened since to the bars."""
        now = time.monotonic()
        told = []
        for talk in (self.group, self.room):
            at = [begun, *(when for when in talk.acknowledged_at if begun <= when <= now), now]
            pause_s = max(later - earlier for earlier, later in zip(at, at[1:]))
            told.append(f"{pause_s:.1f} s without an acknowledgement in the {talk.kind}")
            if pause_s > POSTING_BACK_S:
                self.problems.append(f"{kind}: for {pause_s:.1f} s no message of the {talk.kind} was acknowledged")
        away = [s for member in self.members for when, s in member.away if when >= begun]
        # Who is away still counts, too.
        away += [now - member.lost_at for member in self.members if member.lost_at is not None]
        allowed_s = SOCKET_BACK_S.get(kind, SOCKET_BACK_ELSE_S)
        told.append(f"{len(away)} lost their socket, for {max(away, default=0.0):.1f} s at most")
        if max(away, default=0.0) > allowed_s:
            self.problems.append(f"{kind}: somebody had no socket for {max(away):.1f} s, {allowed_s} are allowed")
        print(f"    {kind}: {'; '.join(told)}", flush=True)


def seen_by(witnesses, talk, events):
    """Holds what was seen on a socket of a node that had been stopped to the history: it may have ended, but never told anything else."""
    stored = {event["seq"]: event.get("message_id") or f"{event['event']} {event['sender']['name']}" for event in events}
    place = {event["message_id"]: event["seq"] for event in events if event.get("message_id")}
    problems = []
    for witness in witnesses:
        heard = witness.heard[talk]
        for seq, what in heard.by_seq.items():
            if stored.get(seq) != what:
                problems.append(f"{witness.name}: {seq} of the {talk.kind} was {what}, and is {stored.get(seq)}")
        for message_id, seq in heard.acknowledged.items():
            if place.get(message_id) != seq:
                problems.append(f"{witness.name}: acknowledged at {seq}, in the history at {place.get(message_id)}")
        if heard.first is None:
            problems.append(f"{witness.name}: heard nothing of the {talk.kind}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="default", help="of the cluster")
    parser.add_argument("--members", type=int, default=9, help="(default: %(default)s)")
    parser.add_argument("--faults", default="kill,roll,stop,wipe", help="one after the other (default: %(default)s)")
    parser.add_argument("--stop-s", type=float, default=15, help="for how long a node is stopped (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="an event that comes twice on one socket, or late, is a failure, too")
    parser.add_argument("--through-proxy", action="store_true", help="members know the proxy only; the witness of `stop` does not")
    options = parser.parse_args()
    known = ("kill", "term", "roll", "stop", "wipe", "cassandra")
    for kind in filter(None, options.faults.split(",")):
        if kind not in known:
            parser.error(f"there is no fault '{kind}': {', '.join(known)}")
    if not 2 <= options.members <= 200 or not 5 <= options.stop_s <= 300:
        parser.error("--members 2 to 200, --stop-s 5 to 300")
    return asyncio.run(Play(Fleet(options.name), options).run())


if __name__ == "__main__":
    sys.exit(main())

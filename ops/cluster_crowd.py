#!/usr/bin/env python3
"""A room of 1,000 listeners and a group of 200 members over the nodes of a cluster, of whom a tenth lose their sockets in the middle.

    ops/cluster_crowd.py [--name NAME] [--listeners N] [--members N] [--seconds S] [--through-proxy]

The cluster runs already (`ops/cluster up 3 -- --unlimited`). Listeners are guests and members accounts, in turn on each node; some of the
members write in both. Every tenth client is cut off without a word, comes back at *another* node and resumes while others write. At the end
everybody must have heard the same sequence, nothing twice, nothing left out, and the history must say the same (ops/cluster.d/members.py).
"""

import argparse
import asyncio
import itertools
import pathlib
import sys
import time

OPS = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(OPS / "cluster.d")]

from fleet import Fleet, fresh_names, many_sockets  # noqa: E402
from members import Line, Member, Talk, living, settled  # noqa: E402
from verdicts import check, history, report  # noqa: E402

WRITERS = 8
# Together, half of them in each talk: 5,000 deliveries a second to 1,000 listeners is what one Python process reads with ease.
MESSAGES_PER_S = 10
EVERY = 10
SETTLE_S = 60


async def make_talks(addresses, token, mark):
    """Makes the group and the room; returns them."""
    maker = Member("maker", addresses, 0, lambda: {"token": token}, [])
    line = await Line.open(maker, addresses[0])
    try:
        epoch = (await line.ask("hello", protocol=1, token=token))["epoch"]
        group = (await line.ask("group.create", name="crowd"))["conversation"]
        room = (await line.ask("room.create", name=f"crowd {mark}"))["conversation"]
    finally:
        line.leave("made")
    return Talk("group", group["id"], epoch), Talk("room", room["id"], epoch)


def guest(name):
    """A guest's name is free again only when its old socket is gone: each of its lives has another."""
    lives = itertools.count()
    return lambda: {"guest": f"{name}-{next(lives)}"}


async def cut_some(members, seconds):
    """Cuts these off, one after the other; they come back at the next node."""
    for member in members:
        member.cut()
        await asyncio.sleep(seconds / len(members))


async def play(fleet, options):
    addresses = fleet.addresses(options.through_proxy)
    names = fresh_names("c", options.members + 1)
    begun = time.monotonic()
    # Who makes the room is a member of it: the others only listen there.
    *tokens, maker_token = await asyncio.to_thread(fleet.users, names)
    group, room = await make_talks(addresses, maker_token, names[0].split("-")[1])
    print(f"    {options.members} accounts after {time.monotonic() - begun:.1f} s", flush=True)
    every_s = WRITERS / MESSAGES_PER_S
    people = []
    for n, token in enumerate(tokens):
        talks = [group, room] if n < WRITERS else [group]
        credentials = lambda token=token: {"token": token}
        people.append(Member(names[n], addresses, n, credentials, talks, every_s if n < WRITERS else None))
    listeners = [
        Member(name, addresses, n, guest(name), [room]) for n, name in enumerate(fresh_names("g", options.listeners - WRITERS))
    ]
    crowd = people + listeners
    for writer in people[:WRITERS]:
        writer.writing = False
    async with living(crowd):
        print(f"    {len(crowd)} sockets after {time.monotonic() - begun:.1f} s", flush=True)
        for writer in people[:WRITERS]:
            writer.writing = True
        await asyncio.sleep(options.seconds / 4)
        # Writers among them: what they hadn't been told about, they send again.
        cut = crowd[1::EVERY]
        await cut_some(cut, options.seconds / 2)
        await asyncio.sleep(options.seconds / 4)
        in_time = await settled(crowd, SETTLE_S)
        problems = [] if in_time else [f"not everybody had heard everything {SETTLE_S} s after the last message"]
        for talk in (group, room):
            events = await history(addresses, lambda: {"token": maker_token}, talk)
            problems += check(talk, crowd, events)
            messages = sum(1 for event in events if event["event"] == "message")
            said = sum(len(member.heard[talk].acknowledged) for member in people[:WRITERS])
            print(f"    {talk.kind}: {messages} messages, {said} acknowledged, {len(events)} events", flush=True)
            if messages < options.seconds:
                problems.append(f"only {messages} messages were written in the {talk.kind}: that shows nothing")
    problems += [error for member in crowd for error in (*member.errors, *member.out_of_turn)]
    back = [member for member in cut if member.lives >= 2]
    if len(back) != len(cut):
        problems.append(f"{len(cut) - len(back)} of {len(cut)} that were cut off didn't come back")
    away_s = max((s for member in crowd for _, s in member.away), default=0.0)
    frames = sum(member.frames for member in crowd)
    print(f"    {len(cut)} cut off and back at another node, at most {away_s:.1f} s away; {frames} frames heard", flush=True)
    return report(problems)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="default", help="of the cluster")
    parser.add_argument("--listeners", type=int, default=1000, help="of the room (default: %(default)s)")
    parser.add_argument("--members", type=int, default=200, help="of the group (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=12, help="of writing (default: %(default)s)")
    parser.add_argument("--through-proxy", action="store_true", help="clients know the proxy only")
    options = parser.parse_args()
    if not WRITERS <= options.members <= 1000 or not WRITERS < options.listeners <= 10_000 or not 4 <= options.seconds <= 3600:
        parser.error(f"--members {WRITERS} to 1,000, --listeners more than {WRITERS} and at most 10,000, --seconds 4 to 3,600")
    many_sockets(2 * (options.members + options.listeners))
    return asyncio.run(play(Fleet(options.name), options))


if __name__ == "__main__":
    sys.exit(main())

"""What was said in a talk according to the store, and what is wrong with what its members heard."""

import asyncio
import itertools
import sys
import time

from members import INSIST_S, TRY_AGAIN_S, Line, Member


async def history(addresses, credentials, talk):
    """Returns all events of a talk as the store has them now."""
    until = time.monotonic() + INSIST_S
    for at in itertools.count():
        reader = Member("reader", addresses, at, credentials, [])
        line = None
        try:
            line = await Line.open(reader, addresses[at % len(addresses)])
            await line.ask("hello", protocol=1, **credentials())
            events, before = [], {}
            while True:
                page = await line.ask("history", conversation=talk.id, limit=200, **before)
                events = page["events"] + events
                if page["complete"]:
                    return events
                before = {"before": page["events"][0]["seq"]}
        except (OSError, TimeoutError) as error:
            if time.monotonic() > until:
                raise SystemExit(f"FAILED: no node tells the history: {error}") from error
            await asyncio.sleep(TRY_AGAIN_S)
        finally:
            if line:
                line.leave("read")


def check(talk, members, events):
    """Compares what members heard of a talk, and were told of their messages, with its history; returns what is wrong."""
    problems, seqs = [], [event["seq"] for event in events]
    if not seqs or seqs != list(range(seqs[0], seqs[0] + len(seqs))):
        return [f"the history of the {talk.kind} has a hole: {seqs[:3]} … {seqs[-3:]}"]
    stored = {e["seq"]: e.get("message_id") or f"{e['event']} {e['sender']['name']}" for e in events}
    place = {event["message_id"]: event["seq"] for event in events if event.get("message_id")}
    if len(place) != sum(1 for event in events if event.get("message_id")):
        problems.append(f"the history of the {talk.kind} holds a message twice")
    head = seqs[-1]
    for member in members:
        heard = member.heard.get(talk)
        if heard is None:
            continue
        if heard.first is None or heard.upto != head:
            problems.append(f"{member.name}: heard all of the {talk.kind} up to {heard.upto}, its head is {head}")
        differs = [seq for seq, what in heard.by_seq.items() if stored.get(seq) != what]
        if differs:
            seq = differs[0]
            problems.append(
                f"{member.name}: {len(differs)} events of the {talk.kind} aren't those of the history; "
                f"{seq} was {heard.by_seq[seq]}, is {stored.get(seq)}"
            )
        for message_id, seq in heard.acknowledged.items():
            if place.get(message_id) != seq:
                problems.append(f"{member.name}: acknowledged at {seq}, in the history at {place.get(message_id)}")
        waiting = sum(1 for of, *_ in member.unanswered.values() if of is talk)
        if waiting:
            problems.append(f"{member.name}: {waiting} messages were never answered")
    return problems


def report(problems, shown=20):
    """Prints what is wrong; returns the exit code."""
    for problem in problems[:shown]:
        print(f"FAILED: {problem}", file=sys.stderr)
    if len(problems) > shown:
        print(f"FAILED: and {len(problems) - shown} more", file=sys.stderr)
    return 1 if problems else 0

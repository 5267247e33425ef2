"""Native clients that write, hear, lose their sockets and resume at another node, as ops/protocol/native.md says, and what each of them
must have heard at the end.

A *talk* is a group or a room. Each socket is held to: events of a talk only beyond the position it resumed from, each once, in order
(`Member.out_of_turn`), and never two things at one seq. The end (`verdicts.check`) is held to the history: every member heard all of it from its first event on, and every
message that was acknowledged is there once, where its sender was told.
"""

import asyncio
import contextlib
import itertools
import json
import os
import time
from collections import Counter, deque

from websocket import WebSocket

# No answer to a hello, a join or a page within this time: another node is asked.
ANSWER_S = 5
# What is asked again because it heard 'retry later' is given up after this time.
INSIST_S = 30
# A socket on which nothing came for so long is pinged; one on which nothing comes for longer, or that doesn't acknowledge, is left.
QUIET_S, DEAD_S, UNANSWERED_S = 2, 5, 3
# Messages of one member that wait for their answer.
UNANSWERED_MAX = 20
TRY_AGAIN_S = 0.2
ERRORS_KEPT = 50
# Events remembered of each socket.
TRACED = 24
# Close codes from here on say that a client must not come back as it is.
CLOSE_FOR_GOOD = range(4200, 4300)


def uuid_v7():
    digits = f"{int(time.time() * 1000):012x}7{os.urandom(2).hex()[:3]}b{os.urandom(8).hex()[:15]}"
    return "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])


class Talk:
    """A conversation that members talk in, and when a message in it was acknowledged."""

    def __init__(self, kind, conversation, epoch):
        self.kind, self.id, self.epoch = kind, conversation, epoch
        self.acknowledged_at = []


class Heard:
    """What one member heard of one talk."""

    def __init__(self):
        self.first, self.upto = None, 0
        self.by_seq = {}
        self.acknowledged = {}

    def begin_after(self, seq):
        if self.first is None:
            self.first, self.upto = seq + 1, seq

    def note(self, seq, what):
        """Notes an event or an answer; returns what is wrong with it, if anything."""
        known = self.by_seq.setdefault(seq, what)
        self.begin_after(seq - 1)
        while self.upto + 1 in self.by_seq:
            self.upto += 1
        return None if known == what else f"{seq} was {known} and {what}"


class Line:
    """One socket of a member."""

    def __init__(self, member):
        self.member = member
        self.over = asyncio.get_running_loop().create_future()
        self.socket = None
        self.replies = {}
        self.came_at = time.monotonic()
        # Per talk: beyond which seq the next event must lie.
        self.beyond = {}
        # What came last, for whoever has to find out why: (when, seq, what).
        self.trace = deque(maxlen=TRACED)
        self.drain_s = None

    @classmethod
    async def open(cls, member, address):
        line = cls(member)
        line.socket = await WebSocket.connect(address, "/ws", "chinwag.v1", line.on_text, line.end)
        return line

    def end(self, why):
        if not self.over.done():
            self.over.set_result(why)
            for reply in self.replies.values():
                reply.cancel()
            self.member.lost(self, why)

    def leave(self, why):
        self.socket.cut()
        self.end(why)

    def on_text(self, text):
        if not self.over.done():
            self.came_at = time.monotonic()
            self.member.take(self, json.loads(text))

    def send(self, **frame):
        self.socket.send(json.dumps(frame))

    def told(self, talk):
        """Returns what came last of a talk, newest first: seconds ago, seq, what."""
        now = time.monotonic()
        return [f"{now - at:.3f} s ago {seq} {what}" for at, of, seq, what in reversed(self.trace) if of is talk]

    async def ask(self, kind, **fields):
        """Asks until the answer isn't 'retry later'; returns the result. Raises OSError when none comes or it is another error."""
        until = time.monotonic() + INSIST_S
        while True:
            request = f"r{next(self.member.counter)}"
            reply = self.replies[request] = asyncio.get_running_loop().create_future()
            self.send(id=request, type=kind, **fields)
            try:
                async with asyncio.timeout(ANSWER_S):
                    frame = await reply
            except asyncio.CancelledError as error:
                if asyncio.current_task().cancelling():
                    raise
                raise OSError(f"the socket ended before {kind} was answered") from error
            finally:
                self.replies.pop(request, None)
            error = frame.get("error")
            if error is None:
                return frame["result"]
            self.member.refused[error["code"]] += 1
            if not error["retryable"]:
                self.member.wrong(f"{kind} refused for good: {error}")
                raise OSError(f"{kind}: {error['message']}")
            if time.monotonic() > until:
                raise OSError(f"{kind}: {error['message']} for {INSIST_S} s")
            await asyncio.sleep(min(error.get("retry_after_ms", 200) / 1000, 1))


class Member:
    """A user with one native client. `credentials()` returns what its hello says; `addresses` are those of the nodes, or of the proxy."""

    counter = itertools.count()

    def __init__(self, name, addresses, at, credentials, talks, write_every_s=None, patient=False):
        self.name, self.addresses, self.at, self.credentials = name, addresses, at, credentials
        self.heard = {talk: Heard() for talk in talks}
        self.by_id = {talk.id: talk for talk in talks}
        self.write_every_s, self.patient = write_every_s, patient
        self.line, self.lost_at, self.entered = None, None, asyncio.Event()
        # message id -> (talk, content, when it was last sent)
        self.unanswered = {}
        # (when, for how long) it had no socket.
        self.away = []
        self.errors, self.refused, self.ends = [], Counter(), Counter()
        # Events at or before one that came on the same socket: a native client ignores them, in the other dialects they are shown.
        self.out_of_turn = deque(maxlen=ERRORS_KEPT)
        self.writing, self.done, self.sent, self.lives = True, False, 0, 0
        self.frames = 0

    def wrong(self, what):
        if len(self.errors) < ERRORS_KEPT:
            self.errors.append(f"{self.name}: {what}")

    # ---- its life ---------------------------------------------------------------------------------------------

    async def run(self):
        writer = asyncio.create_task(self.write()) if self.write_every_s else None
        try:
            while not self.done:
                await self.enter()
                await self.stay()
                self.at += 1
        finally:
            if writer:
                writer.cancel()
            if self.line:
                self.line.socket.cut()

    async def enter(self):
        """Opens a socket at the next node that answers, and resumes; the one before is closed when this is welcome."""
        while not self.done:
            line = None
            try:
                line = await Line.open(self, self.addresses[self.at % len(self.addresses)])
                await self.hello(line)
            except (OSError, TimeoutError):
                if line:
                    line.leave("not welcome")
                self.at += 1
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            before, self.line = self.line, line
            if before and not before.over.done():
                before.socket.close()
                before.end("drained")
            if self.lost_at is not None:
                self.away.append((self.lost_at, time.monotonic() - self.lost_at))
                self.lost_at = None
            self.lives += 1
            for message_id, (talk, content, _) in list(self.unanswered.items()):
                self.post(message_id, talk, content)
            self.entered.set()
            return

    async def hello(self, line):
        known = {talk: heard.upto for talk, heard in self.heard.items() if heard.first is not None}
        line.beyond = dict(known)
        positions = {talk.id: {"epoch": talk.epoch, "seq": upto} for talk, upto in known.items()}
        of_groups = {talk.id: positions[talk.id] for talk in known if talk.kind == "group"}
        welcome = await line.ask("hello", protocol=1, positions=of_groups, **self.credentials())
        for resumed in welcome.get("resumed", []):
            self.resumed(resumed)
        for talk, heard in self.heard.items():
            if talk.kind == "room":
                position = {"position": positions[talk.id]} if talk in known else {}
                told = await line.ask("room.listen", conversation=talk.id, **position)
                heard.begin_after(told["conversation"]["head"])
                if talk in known:
                    self.resumed(told.get("resumed") or {"outcome": "no word of it"})
            elif talk not in known:
                # Its own event tells the place.
                await line.ask("group.join", conversation=talk.id)

    def resumed(self, told):
        if told["outcome"] != "replayed":
            self.wrong(f"resumed with {told}")

    async def stay(self):
        """Comes back when this socket has ended, or may be left for another."""
        line = self.line
        while not line.over.done() and not self.done:
            if line.drain_s is not None:
                # Until then it is as good as before.
                await asyncio.wait({line.over}, timeout=line.drain_s)
                return
            await asyncio.wait({line.over}, timeout=0.5)
            now = time.monotonic()
            quiet = now - line.came_at
            waits = now - min((sent for *_, sent in self.unanswered.values()), default=now)
            if self.patient or line.over.done():
                continue
            if quiet > DEAD_S or (quiet > UNANSWERED_S and waits > UNANSWERED_S):
                line.leave("silent")
            elif quiet > QUIET_S:
                line.send(id=f"p{next(self.counter)}", type="ping")

    def lost(self, line, why):
        self.ends[why] += 1
        if line is self.line and self.lost_at is None and why != "drained":
            self.lost_at = time.monotonic()
        if line.socket and line.socket.close_code in CLOSE_FOR_GOOD:
            self.wrong(f"closed with {line.socket.close_code}")

    def cut(self):
        """Loses its socket, as when a network breaks."""
        if self.line and not self.line.over.done():
            self.line.leave("cut by the test")

    # ---- what it says and hears -------------------------------------------------------------------------------

    async def write(self):
        talks = itertools.cycle(self.heard)
        await self.entered.wait()
        while not self.done:
            await asyncio.sleep(self.write_every_s)
            if self.writing and len(self.unanswered) < UNANSWERED_MAX and not self.line.over.done():
                self.sent += 1
                self.post(uuid_v7(), next(talks), f"{self.sent} of {self.name}")

    def post(self, message_id, talk, content):
        self.unanswered[message_id] = (talk, content, time.monotonic())
        if not self.line.over.done():
            self.line.send(id=message_id, type="send", conversation=talk.id, message_id=message_id, content=content)

    def post_again(self, message_id):
        if message_id in self.unanswered and not self.done:
            talk, content, _ = self.unanswered[message_id]
            self.post(message_id, talk, content)

    def take(self, line, frame):
        self.frames += 1
        of, event = frame.get("id"), frame.get("event")
        if event is None:
            if (reply := line.replies.get(of)) is not None:
                if not reply.done():
                    reply.set_result(frame)
            elif of in self.unanswered:
                self.answered(line, of, frame)
        elif event == "gap":
            self.wrong(f"a gap: {frame}")
        elif event == "drain":
            line.drain_s = frame["reconnect_after_ms"] / 1000
        elif "seq" in frame and event != "pointer" and (talk := self.by_id.get(frame["conversation"])):
            seq, beyond = frame["seq"], line.beyond.get(talk, 0)
            if seq <= beyond:
                self.out_of_turn.append(f"{self.name}: {seq} came after {beyond} in a {talk.kind}; before came {line.told(talk)}")
            line.trace.append((time.monotonic(), talk, seq, event))
            if frame["epoch"] != talk.epoch:
                self.wrong(f"{seq} has epoch {frame['epoch']}, not {talk.epoch}")
            line.beyond[talk] = seq
            self.note(talk, seq, frame.get("message_id") or f"{event} {frame['sender']['name']}")

    def answered(self, line, message_id, frame):
        talk = self.unanswered[message_id][0]
        if error := frame.get("error"):
            self.refused[error["code"]] += 1
            if error["retryable"]:
                after_s = min(error.get("retry_after_ms", 200) / 1000, 1)
                asyncio.get_running_loop().call_later(after_s, self.post_again, message_id)
            else:
                self.wrong(f"refused for good: {error}")
                del self.unanswered[message_id]
            return
        del self.unanswered[message_id]
        seq = frame["result"]["seq"]
        self.heard[talk].acknowledged[message_id] = seq
        talk.acknowledged_at.append(time.monotonic())
        line.trace.append((time.monotonic(), talk, seq, "answer"))
        self.note(talk, seq, message_id)

    def note(self, talk, seq, what):
        if problem := self.heard[talk].note(seq, what):
            self.wrong(problem)


# ---- all of them together -------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def living(members, at_once=32, entered_s=120):
    """Lets members live, a few entering at a time; ends them afterwards. Raises what made one end by itself."""
    gate = asyncio.Semaphore(at_once)
    tasks = []

    async def enter(member):
        async with gate:
            task = asyncio.create_task(member.run(), name=member.name)
            tasks.append(task)
            entered = asyncio.create_task(member.entered.wait())
            done, _ = await asyncio.wait({task, entered}, timeout=entered_s, return_when=asyncio.FIRST_COMPLETED)
            if entered not in done:
                entered.cancel()
                raise SystemExit(f"FAILED: {member.name} can't enter: {member.errors or 'no node answers'}")

    try:
        await asyncio.gather(*map(enter, members))
        yield
    finally:
        for member in members:
            member.done = True
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
            raise error


async def settled(members, patience_s):
    """Waits until nobody writes, everything is answered, and all who hear a talk heard the same far; returns whether that came."""
    for member in members:
        member.writing = False
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        tops = {}
        for member in members:
            for talk, heard in member.heard.items():
                tops.setdefault(talk, set()).add(heard.upto)
        if all(len(top) == 1 for top in tops.values()) and not any(member.unanswered for member in members):
            return True
        await asyncio.sleep(0.1)
    return False

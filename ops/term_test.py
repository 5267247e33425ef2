"""Drives the terminal client in tmux, against a real server: what people see, what survives a kill, what pipes hear.

    python3 ops/term_test.py --server target/debug/chinwag --client target/debug/chinwag-chat [--dumps DIR] [NAME…]

Each test has a server, users and terminals of its own. A test waits for what the screen shows, never for time. `--dumps` keeps the screens as text,
to be looked at. Names choose tests.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PATIENCE_S = 60
PASSWORD = "correct horse"


class Failed(Exception):
    """A test has failed."""


def eventually(what, holds, detail=lambda: ""):
    """Tries until `holds` gives something that is true."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise Failed(f"in vain: {what}\n{detail()}")


def free_port():
    """Returns a port that is free now, and stays so long enough: it isn't one that the system gives away by itself."""
    for port in range(21_000 + os.getpid() % 1000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failed("no port is free")


class World:
    """A server, a tmux and a directory, for one test."""

    def __init__(self, arguments, name):
        self.client = str(Path(arguments.client).resolve())
        self.program = str(Path(arguments.server).resolve())
        self.dumps = Path(arguments.dumps) if arguments.dumps else None
        self.name = name
        self.directory = Path(tempfile.mkdtemp(prefix="term-"))
        self.address = f"127.0.0.1:{free_port()}"
        self.server = None
        self.password = self.directory / "password"
        self.password.write_text(PASSWORD + "\n")
        self.tmux_socket = self.directory / "tmux"
        self.start_server()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server", check=False)
        self.kill_server()
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---- the server
    def start_server(self):
        data = self.directory / "server"
        ports = data / "ports.json"
        ports.unlink(missing_ok=True)
        with open(self.directory / "server.log", "a", encoding="utf-8") as log:
            self.server = subprocess.Popen(
                [self.program, "--data", data, "serve", "--unlimited", "--http", self.address, "--messenger", "off",
                 "--presence", "off", "--ops", "off", "--presence-grace", "1s", "--log-level", "warn"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory)

        def ready():
            if self.server.poll() is not None:
                raise Failed("the server ended: " + (self.directory / "server.log").read_text())
            return ports.exists()

        eventually("the server starts", ready)

    def kill_server(self):
        if self.server:
            self.server.kill()
            self.server.wait()
            self.server = None

    # ---- clients
    def command(self, user, *options):
        return [self.client, "--server", f"http://{self.address}", "--data", str(self.directory / f"of-{user}"),
                "--name", user, *options]

    def register(self, *users):
        for user in users:
            done = self.plain(user, "", "--password-file", str(self.password), "--register")
            if done.returncode:
                raise Failed(f"{user} can't be registered: {done.stdout}{done.stderr}")

    def plain(self, user, lines, *options, timeout=PATIENCE_S):
        """Runs the plain face to its end."""
        return subprocess.run(self.command(user, *options), input=lines, text=True, capture_output=True,
                              timeout=timeout, check=False)

    def history(self, user, place, count=200):
        """Returns what the server has of a room, as another run reads it."""
        done = self.plain(user, f"/history {count}\n", "--room", place)
        end = done.stdout.rfind("* that is the history")
        if end < 0:
            raise Failed(f"no history: {done.stdout}{done.stderr}")
        # What came live or was missed is printed before the room is entered; the history comes after.
        begin = done.stdout.rfind("* you are in ", 0, end)
        lines = done.stdout[begin:end].splitlines()[1:]
        return [line.split("] ", 1)[1] for line in lines if line.startswith("[") and "] * " not in line]

    # ---- terminals
    def tmux(self, *arguments, check=True):
        done = subprocess.run(["tmux", "-S", str(self.tmux_socket), "-f", "/dev/null", *arguments], text=True,
                              capture_output=True, check=False, timeout=PATIENCE_S)
        if check and done.returncode:
            raise Failed(f"tmux {arguments[0]}: {done.stderr}")
        return done.stdout

    def terminal(self, user, *options, columns=100, rows=30):
        return Terminal(self, user, self.command(user, *options), columns, rows)


class Terminal:
    """The full-screen face in a tmux session of its own."""

    def __init__(self, world, user, command, columns, rows, asks=False):
        self.world, self.user, self.name = world, user, f"{user}-{time.monotonic_ns()}"
        environment = ["env", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TZ=UTC"]
        # A shell around it, so that the terminal can be looked at afterwards.
        # What goes wrong is kept apart, unless the program shall ask, which it does beside its output.
        script = "echo $$ > {pid}; {apart}{run}; echo \"ended $?\"; stty -a; exec sleep 600".format(
            pid=shlex.quote(str(self._path("pid"))), apart="" if asks else f"exec 2>{shlex.quote(str(self._path('errors')))}; ",
            run=shlex.join([*environment, *command]))
        world.tmux("new-session", "-d", "-s", self.name, "-x", str(columns), "-y", str(rows), "bash", "-c", script)
        eventually("a shell", lambda: self._path("pid").exists() and self._path("pid").read_text().strip())

    def _path(self, kind):
        return self.world.directory / f"{self.name}.{kind}"

    def type(self, text):
        self.world.tmux("send-keys", "-t", self.name, "-l", text)

    def press(self, *keys):
        self.world.tmux("send-keys", "-t", self.name, *keys)

    def say(self, text):
        self.type(text)
        # Written before it is sent: a screen that shows it has read it.
        self.shows(text[-12:])
        self.press("Enter")

    def paste(self, text):
        self.world.tmux("set-buffer", text)
        self.world.tmux("paste-buffer", "-p", "-t", self.name)

    def resize(self, columns, rows):
        self.world.tmux("resize-window", "-t", self.name, "-x", str(columns), "-y", str(rows))

    def screen(self):
        return self.world.tmux("capture-pane", "-p", "-t", self.name)

    def ask(self, variable):
        return self.world.tmux("display-message", "-p", "-t", self.name, "#{" + variable + "}").strip()

    def shows(self, *texts):
        def there():
            screen = self.screen()
            return all(re.search(text, screen) if hasattr(text, "search") else text in screen for text in texts)

        eventually(f"{self.user}'s screen shows {texts}", there, self.detail)

    def shows_not(self, text):
        eventually(f"{self.user}'s screen shows no {text}", lambda: text not in self.screen(), self.detail)

    def detail(self):
        errors = self._path("errors")
        return self.screen() + (errors.read_text() if errors.exists() else "")

    def dump(self, what):
        if self.world.dumps:
            self.world.dumps.mkdir(parents=True, exist_ok=True)
            (self.world.dumps / f"{self.world.name}-{what}.txt").write_text(self.screen())

    def pid(self):
        """Returns the process of the client itself: the child of the shell."""
        shell = self._path("pid").read_text().strip()

        def child():
            found = subprocess.run(["ps", "-o", "pid=", "--ppid", shell], text=True, capture_output=True, check=False)
            return found.stdout.split()

        return int(eventually("the client's process", child)[0])

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid(), number)
        eventually("its end", lambda: "ended" in self.screen() or number == signal.SIGKILL, self.detail)

    def restored(self, code):
        """Looks whether the terminal is as it was: no other screen, an echo, a cursor, no mouse."""
        self.shows(f"ended {code}", re.compile(r"[^-]\becho\b"), re.compile(r"[^-]\bicanon\b"))
        for variable, wanted in (("alternate_on", "0"), ("mouse_any_flag", "0"), ("cursor_flag", "1")):
            if self.ask(variable) != wanted:
                raise Failed(f"{variable} is {self.ask(variable)}\n{self.screen()}")


def messages(screen):
    """Returns the messages of a screen, as (name, text)."""
    found = re.findall(r"\b\d\d:\d\d (\S+)  (.*?)(?: …| ✓+)?\s*$", screen, re.MULTILINE)
    return [(name, text.strip()) for name, text in found]


def expect(what, found, wanted):
    if found != wanted:
        raise Failed(f"{what}:\n  found  {found}\n  wanted {wanted}")


# ---- tests

def two_terminals_chat(world):
    """Rooms, chats, unread, typing, delivery, edits, the mouse, and a way out that leaves the terminal as it was."""
    world.register("ann", "bob")
    ann = world.terminal("ann", "--room", "lobby")
    ann.shows("#lobby", "1 here")
    bob = world.terminal("bob", "--room", "lobby")
    ann.shows("2 here")
    bob.type("writing")
    ann.shows("bob is typing")
    bob.press("C-u")
    bob.say("hello from bob")
    ann.shows("bob  hello from bob")
    ann.say("hi bob")
    bob.shows("ann  hi bob")
    ann.say("/msg bob a word in private")
    ann.shows("@bob", "ann  a word in private ✓✓")
    bob.shows(re.compile(r"● ann +1"))
    bob.press("M-a")
    bob.shows("@ann · online", "── new ──", "a word in private")
    bob.say("got it")
    ann.shows("bob  got it")
    ann.say("/edit a word")
    bob.shows("ann  a word (edited)")
    ann.dump("chat")
    bob.dump("chat")
    # A click on the second row of the list: the room.
    row = next(at for at, line in enumerate(bob.screen().splitlines()) if "# lobby" in line)
    bob.type(f"\x1b[<0;5;{row + 1}M")
    bob.shows("#lobby · 2 here", "ann  hi bob")
    bob.say("/users")
    bob.shows("Here: 2", "ann, bob")
    bob.say("/rooms")
    bob.shows("#lobby  ", "2 here")
    bob.say("/nonsense")
    bob.shows("Unknown command: nonsense")
    bob.press("C-u")
    bob.say("/leave")
    ann.press("C-n")
    ann.shows("#lobby · 1 here")
    bob.say("/quit")
    bob.restored(0)
    ann.kill(signal.SIGTERM)
    ann.restored(0)


def a_killed_member_goes_on_without_loss_or_repeat(world):
    """kill -9 of a client while others write; the next run shows each message once, in order."""
    killed(world, maker=True)


def a_killed_listener_goes_on_without_loss_or_repeat(world):
    """The same for somebody of whom the server keeps nothing."""
    killed(world, maker=False)


def killed(world, maker):
    world.register("ann", "bob")
    # Who makes a room becomes a member of it, who comes later only listens: going on is different for the two.
    first, second = ("ann", "bob") if maker else ("bob", "ann")
    terminals = {first: world.terminal(first, "--room", "lobby")}
    terminals[first].shows("1 here")
    terminals[second] = world.terminal(second, "--room", "lobby")
    ann, bob = terminals["ann"], terminals["bob"]
    ann.shows("2 here")
    wanted = []
    for number in range(5):
        bob.say(f"before {number}")
        wanted.append(("bob", f"before {number}"))
    ann.shows("before 4")
    ann.say("mine")
    ann.shows(re.compile(r"ann  mine ✓"))
    wanted.append(("ann", "mine"))
    # So that where it was is on the disk, which happens every second, or not: both are right.
    ann.kill()
    for number in range(5):
        bob.say(f"while away {number}")
        wanted.append(("bob", f"while away {number}"))
    bob.shows(re.compile(r"while away 4 ✓"))
    again = world.terminal("ann")
    again.shows("#lobby", "while away 4")
    bob.say("and on")
    wanted.append(("bob", "and on"))
    again.shows("and on")
    eventually("all messages, each once, in order", lambda: messages(again.screen()) == wanted, again.detail)
    again.dump("resumed")
    expect("what the server has", world.history("ann", "lobby"), [f"{name}: {text}" for name, text in wanted])


def what_is_typed_while_the_server_is_down_is_sent_once(world):
    """The banner, the outbox; then the same with a client that is killed before the server comes back."""
    world.register("ann", "bob")
    bob = world.terminal("bob", "--room", "lobby")
    bob.shows("1 here")
    # A listener: of her the server keeps nothing.
    ann = world.terminal("ann", "--room", "lobby")
    ann.shows("2 here")
    ann.say("while up")
    bob.shows("ann  while up")
    world.kill_server()
    ann.shows("ot connected")
    ann.say("while down 1")
    ann.say("while down 2")
    ann.shows("while down 1 …", "while down 2 …", "unsent: 2")
    ann.dump("down")
    world.start_server()
    ann.shows(re.compile(r"while down 1 ✓"), re.compile(r"while down 2 ✓"))
    ann.shows_not("ot connected")
    bob.shows("ann  while down 1", "ann  while down 2")
    world.kill_server()
    ann.shows("onnect")
    ann.say("the last word")
    ann.shows("the last word …")
    ann.kill()
    world.start_server()
    again = world.terminal("ann")
    again.shows(re.compile(r"ann  the last word ✓"))
    bob.shows("ann  the last word")
    wanted = ["while up", "while down 1", "while down 2", "the last word"]
    eventually("each once", lambda: [text for _, text in messages(again.screen())] == wanted, again.detail)
    expect("what the server has", world.history("bob", "lobby"), [f"ann: {text}" for text in wanted])


def narrow_terminals_have_one_pane(world):
    """Fewer than 60 columns: the list or the messages; resizing; scrolling back through pages of history."""
    world.register("ann")
    lines = "".join(f"message number {number}\n" for number in range(150))
    done = world.plain("ann", lines, "--room", "lobby")
    expect("exit", done.returncode, 0)
    ann = world.terminal("ann", columns=40, rows=16)
    ann.shows("#lobby", "message number 149")
    if "│" in ann.screen():
        raise Failed("two panes\n" + ann.screen())
    ann.dump("thread")
    ann.press("Escape")
    ann.shows("# lobby", "↑↓ Enter")
    ann.shows_not("message number")
    ann.dump("list")
    ann.press("Enter")
    ann.shows("message number 149")
    ann.resize(100, 30)
    ann.shows("│", "message number 149")
    ann.resize(40, 16)

    def top():
        ann.press("PageUp")
        return "This is the beginning" in ann.screen()

    eventually("the beginning", top, ann.detail)
    ann.shows("message number 0", "End: to the newest")
    ann.press("End")
    ann.shows("message number 149")
    ann.resize(12, 4)
    ann.resize(8, 3)
    ann.resize(100, 30)
    ann.shows("message number 149")


def others_words_cannot_act_on_the_terminal(world):
    """Escape sequences, a title, overrides of direction; and a paste of several lines, wide characters."""
    world.register("ann", "bob")
    ann = world.terminal("ann", "--room", "lobby")
    ann.shows("1 here")
    eventually("the title", lambda: ann.ask("pane_title") == "Chinwag · ann", ann.detail)
    hostile = "\x1b]0;pwned\x07 \x1b[2J \x1b[31mred \x9b2J abc\u202efdp.exe"
    expect("exit", world.plain("bob", hostile + "\n", "--room", "lobby").returncode, 0)
    ann.shows("bob  \ufffd]0;pwned\ufffd", "\ufffd[2J", "abc\ufffdfdp.exe", "#lobby")
    # Seen, so nothing is unread.
    eventually("the title", lambda: ann.ask("pane_title") == "Chinwag · ann", ann.detail)
    heard = world.plain("ann", "/history 1\n", "--room", "lobby").stdout
    expect("control characters in the plain face", [c for c in heard if ord(c) < 32 and c != "\n"], [])
    ann.paste("first line\nsecond: 日本語 👩‍👩‍👧 é\nthird")
    ann.shows("> first line", "  third")
    ann.press("Enter")
    ann.shows("ann  first line", "second: 日本語")
    ann.dump("paste")
    expect("one message", world.history("bob", "lobby")[-1].count("⏎"), 2)


def the_plain_face_speaks_in_lines(world):
    """Pipes: what is printed, what is answered, exit codes, an outbox that waits for the server; guests."""
    world.register("ann", "bob")
    listener = subprocess.Popen(world.command("bob", "--room", "lobby", "--follow"), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        heard = []
        while not heard or "you are in #lobby" not in heard[-1]:
            heard.append(listener.stdout.readline())
            if not heard[-1]:
                raise Failed(f"the listener ended: {heard}")
        done = world.plain("ann", "one\n\n  two  \n//three\n/users\n", "--room", "lobby")
        expect("exit", done.returncode, 0)
        expect("answer", "* ann, bob" in done.stdout, True)
        expect("own messages aren't repeated", "ann: one" in done.stdout, False)
        lines = []
        while len(lines) < 3:
            line = listener.stdout.readline().rstrip("\n")
            # Whoever made the room has joined it; whoever listens in it hasn't.
            if " joined" not in line:
                lines.append(line)
        expect("heard", lines, ["[#lobby] ann: one", "[#lobby] ann:   two  ", "[#lobby] ann: /three"])
        world.kill_server()
        done = world.plain("ann", "later\n", "--room", "lobby", timeout=120)
        expect("exit without a server", done.returncode, 3)
        expect("what is said", "* messages that wait for the next run: 1" in done.stdout, True)
        world.start_server()
        done = world.plain("ann", "")
        expect("exit", done.returncode, 0)
        expect("history", world.history("bob", "lobby"), ["ann: one", "ann:   two  ", "ann: /three", "ann: later"])
    finally:
        listener.kill()
        listener.wait()
    guest = world.plain("gus", "hi from a guest\n", "--guest", "--room", "lobby")
    expect("guest", guest.returncode, 0)
    expect("history", world.history("bob", "lobby")[-1], "gus: hi from a guest")
    wrong = world.plain("eve", "", "--password-file", str(world.password))
    expect("exit", wrong.returncode, 1)
    expect("said", "can't log in as eve" in wrong.stderr, True)
    kept = json.loads((world.directory / "of-ann" / "last.json").read_text())
    expect("no password is kept", PASSWORD in json.dumps(kept), False)
    for path in (world.directory / "of-ann").rglob("*"):
        if path.is_file():
            expect(f"mode of {path}", path.stat().st_mode & 0o077, 0)
            expect(f"password in {path}", PASSWORD.encode() in path.read_bytes(), False)


def lines_are_neither_lost_nor_passed_over(world):
    """Pipes: messages of a chat opened while one was away are told of; a killed run's unread lines are the next run's."""
    world.register("ann", "bob")
    expect("exit", world.plain("ann", "hi\nthere\n", "--to", "bob").returncode, 0)
    told = "* 2 unread in @ann; /open ann, then /history 2 shows them"
    expect("unread messages are told of", told in world.plain("bob", "/me\n").stdout, True)
    shown = world.plain("bob", "/open ann\n/history 2\n").stdout
    expect("told once", "unread" in shown, False)
    expect("shown", [line for line in shown.splitlines() if line.startswith("[@ann] ")],
           ["[@ann] ann: hi", "[@ann] ann: there"])
    # A slow reader: the client has what isn't printed yet, and notes where it is meanwhile.
    stuck = subprocess.Popen(world.command("bob", "--to", "ann", "--follow"), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, bufsize=0)
    heard = b""
    try:
        while b"you are in @ann" not in heard:
            heard += stuck.stdout.readline()
        count = 300
        texts = [f"{number} " + "x" * 2000 for number in range(count)]
        expect("exit", world.plain("ann", "\n".join(texts) + "\n", "--to", "bob").returncode, 0)
        # Longer than it is from one note of where it is to the next.
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            heard += stuck.stdout.read(4096)
            time.sleep(0.04)
    finally:
        stuck.kill()
        # What was in the pipe was printed.
        heard += stuck.stdout.read()
        stuck.wait()
    found = [int(number) for number in re.findall(rb"^\[@ann\] ann: (\d+) x", heard, re.MULTILINE)]
    expect("exit", world.plain("ann", "the end\n", "--to", "bob").returncode, 0)
    following = subprocess.Popen(world.command("bob", "--follow"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True)
    rest = []
    try:
        while not rest or "ann: the end" not in rest[-1]:
            rest.append(following.stdout.readline())
            if not rest[-1]:
                raise Failed(f"the next run ended: {rest}")
    finally:
        following.kill()
        following.wait()
    later = [int(number) for number in re.findall(r"^\[@ann\] ann: (\d+) x", "".join(rest), re.MULTILINE)]
    expect("it was killed before the end", 0 < len(found) < count, True)
    expect("all were printed", sorted(set(found + later)), list(range(count)))
    expect("no more were printed twice than in a second or two", len(found) + len(later) <= count + 150, True)


def the_first_run_asks_and_the_next_one_knows(world):
    """Server, name and password are asked for, an account is made; the password is never on the screen, and isn't asked for again."""
    command = [world.client, "--data", str(world.directory / "of-ann")]
    ann = Terminal(world, "ann", command, 80, 24, asks=True)
    ann.shows("Server [http://127.0.0.1:3000]:")
    ann.type(f"http://{world.address}")
    ann.press("Enter")
    ann.shows("Name:")
    ann.type("ann")
    ann.press("Enter")
    ann.shows("Password")
    ann.type(PASSWORD)
    ann.press("Enter")
    ann.shows("Make a new account 'ann'")
    expect("the password is on the screen", PASSWORD in ann.screen(), False)
    ann.type("y")
    ann.press("Enter")
    ann.shows("The password again")
    ann.type(PASSWORD)
    ann.press("Enter")
    ann.shows("Nothing is open", "/join ROOM")
    ann.dump("first")
    ann.press("C-d")
    ann.restored(0)
    again = Terminal(world, "ann", command, 80, 24, asks=True)
    again.shows("Nothing is open", " ann")
    again.press("C-c")
    again.shows("Ctrl+C again quits")
    again.press("C-c")
    again.restored(0)


TESTS = [
    the_first_run_asks_and_the_next_one_knows,
    two_terminals_chat,
    a_killed_member_goes_on_without_loss_or_repeat,
    a_killed_listener_goes_on_without_loss_or_repeat,
    what_is_typed_while_the_server_is_down_is_sent_once,
    narrow_terminals_have_one_pane,
    others_words_cannot_act_on_the_terminal,
    the_plain_face_speaks_in_lines,
    lines_are_neither_lost_nor_passed_over,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--server", required=True)
    parser.add_argument("--client", required=True)
    parser.add_argument("--dumps")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    for program in (arguments.server, arguments.client):
        if not os.access(program, os.X_OK):
            sys.exit(f"there is no {program}")
    if not shutil.which("tmux"):
        sys.exit("tmux is missing")
    known = {test.__name__ for test in TESTS}
    unknown = set(arguments.names) - known
    if unknown:
        sys.exit(f"no test {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    failed = 0
    for test in TESTS:
        if arguments.names and test.__name__ not in arguments.names:
            continue
        begun = time.monotonic()
        try:
            with World(arguments, test.__name__) as world:
                test(world)
            print(f"ok      {test.__name__} ({time.monotonic() - begun:.1f} s)", flush=True)
        except (Failed, subprocess.TimeoutExpired) as error:
            failed += 1
            print(f"FAILED  {test.__name__}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Processes that outlive the command that started them.

One is known by its pid together with the time it started and the boot it belongs to, so that a number which the system has given
to another process meanwhile is never taken for ours, and never signalled.
"""

import os
import pathlib
import pwd
import signal
import subprocess
import time

PROC = pathlib.Path("/proc")
POLL_S = 0.05
# What a killed process may need until the kernel is done with it.
KILL_PATIENCE_S = 10
# The settings of whoever runs this are none of the services'.
FOREIGN_PREFIXES = ("CHINWAG_", "PG", "CASSANDRA_", "REDIS")
FOREIGN = {"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "JAVA_OPTS", "CLASSPATH"}


class Failure(Exception):
    """Something that whoever runs the command has to know: shown as one sentence, without a trace."""


def environment():
    """Returns our environment without what would change a service."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_PREFIXES)}
    return {name: value for name, value in kept.items() if name not in FOREIGN}


def boot():
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def started(pid):
    """Returns when a process started, in ticks since boot; None when there is none, or only what its parent hasn't fetched yet."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name, in brackets, may hold anything, also brackets.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def identify(pid):
    """Returns what finds this process again, as JSON can hold it."""
    return {"pid": pid, "started": started(pid), "boot": boot()}


def alive(known):
    """Tells whether the process that `identify` saw is still there."""
    if not known or known.get("started") is None or known.get("boot") != boot():
        return False
    return started(known["pid"]) == known["started"]


def account(name):
    """Returns the numbers of an account of this machine, or None."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def start(command, directory, log, user=None, variables=None):
    """Starts a process in `directory`, in a session of its own, its words appended to `log`; returns what identifies it."""
    identity = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=directory,
            env=environment() | (variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **identity,
        )
    known = identify(process.pid)
    # It stays when we end, and Python would warn that nobody waited for it.
    process.returncode = 0
    return known


def reap(pid):
    """Lets the kernel forget a child of ours that has ended."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def gone(known, patience_s):
    """Waits until a process has ended; returns whether it has."""
    until = time.monotonic() + patience_s
    while alive(known):
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    reap(known["pid"])
    return True


def send(pid, with_signal):
    try:
        os.kill(pid, with_signal)
    except ProcessLookupError:
        pass


def stop(known, with_signal, patience_s):
    """Ends a process and, if it doesn't end in time, kills it; returns whether it ended by itself."""
    if not alive(known):
        return True
    send(known["pid"], with_signal)
    # One that was stopped would never hear it.
    send(known["pid"], signal.SIGCONT)
    if gone(known, patience_s):
        return True
    send(known["pid"], signal.SIGKILL)
    if not gone(known, KILL_PATIENCE_S):
        raise Failure(f"process {known['pid']} is still there {KILL_PATIENCE_S} s after SIGKILL")
    return False


def stragglers(directory, executables):
    """Returns the pids of programs of these names that work in `directory`: what a killed parent has left behind."""
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            place, program = os.readlink(entry / "cwd"), pathlib.Path(os.readlink(entry / "exe")).name
        except OSError:
            continue
        if pathlib.Path(place) == directory.resolve() and program in executables and started(entry.name) is not None:
            found.append(int(entry.name))
    return found


def end_stragglers(directory, executables, patience_s=5):
    """Waits for what a killed parent has left behind, then kills it."""
    until = time.monotonic() + patience_s
    while left := stragglers(directory, executables):
        if time.monotonic() > until:
            for pid in left:
                send(pid, signal.SIGKILL)
            until = time.monotonic() + KILL_PATIENCE_S
        time.sleep(POLL_S)


def age_s(known):
    """Returns for how long a process has been running."""
    uptime_s = float((PROC / "uptime").read_text().split()[0])
    return uptime_s - known["started"] / os.sysconf("SC_CLK_TCK")


def resident_bytes(known):
    pages = int((PROC / str(known["pid"]) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def tail(log, lines=25):
    """Returns the end of a log."""
    # Far more than that many lines need, and little enough to read.
    most = 64 * 1024
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - most))
            text = file.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(an empty log)"

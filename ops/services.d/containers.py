"""Services in containers, where a Docker engine is there and a package isn't."""

import calendar
import json
import subprocess
import time

from processes import Failure

LIMIT_S = 600
STOP_S = 30


def docker(*arguments, check=True):
    """Runs the client; returns what it printed."""
    told = subprocess.run(
        ["docker", *map(str, arguments)], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if check and told.returncode:
        raise Failure(f"docker {arguments[0]} failed: {told.stderr.strip()}")
    return told.stdout + (told.stderr if arguments[0] == "logs" else "")


def start(name, image, arguments, port, inside, environment=(), mounts=(), data=None):
    """Starts a container whose port `inside` is `port` of our loopback; its data is a volume of its name. Returns what finds it again."""
    docker("rm", "--force", name, check=False)
    command = ["run", "--detach", "--name", name, "--label", "chinwag.services", "--publish", f"127.0.0.1:{port}:{inside}"]
    for pair in environment:
        command += ["--env", pair]
    for mount in mounts:
        command += ["--volume", mount]
    if data:
        command += ["--volume", f"{name}:{data}"]
    docker(*command, image, *arguments)
    return {"container": name}


def inspect(known):
    told = docker("inspect", known["container"], check=False)
    try:
        return json.loads(told)[0]["State"]
    except (ValueError, IndexError, KeyError):
        return {}


def alive(known):
    return bool(inspect(known).get("Running"))


def pid(known):
    return inspect(known).get("Pid")


def age_s(known):
    started = inspect(known).get("StartedAt", "")[:19]
    try:
        return time.time() - calendar.timegm(time.strptime(started, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0


def run_inside(known, *command):
    """Runs a program in the container; returns its output, or None when it failed."""
    told = subprocess.run(
        ["docker", "exec", known["container"], *command], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    return told.stdout if told.returncode == 0 else None


def tail(known, lines=25):
    return docker("logs", "--tail", lines, known["container"], check=False).strip() or "(an empty log)"


def stop(known):
    docker("stop", "--time", STOP_S, known["container"], check=False)


def wipe(name):
    docker("rm", "--force", "--volumes", name, check=False)
    docker("volume", "rm", "--force", name, check=False)

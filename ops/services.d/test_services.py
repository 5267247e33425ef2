"""What `ops/services` promises, tried with Redis and PostgreSQL: python3 ops/services.d/test_services.py"""

import contextlib
import io
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import ports  # noqa: E402
import processes  # noqa: E402
from processes import Failure  # noqa: E402
from runs import Run, locked  # noqa: E402

COMMAND = pathlib.Path(__file__).resolve().parent.parent / "services"
PATIENCE_S = 60


def until(condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.05)


class Services(unittest.TestCase):
    """Each test has runs of its own, wiped at the end."""

    def run_of(self, mark="a"):
        name = f"selftest-{os.getpid()}-{mark}"
        self.addCleanup(lambda: Run(name).wipe())
        return Run(name)

    def up(self, *kinds, mark="a"):
        run = self.run_of(mark)
        run.up(kinds)
        run.wait(kinds, PATIENCE_S)
        return run.made(kinds)[0]

    def again(self, service):
        """Reads what is kept about a service anew, as the next command does."""
        return Run(service.run.name).made((service.kind,))[0]

    def ask_redis(self, service, order):
        with socket.create_connection((service.host, service.port()), timeout=5) as connection:
            connection.sendall(order.encode() + b"\r\n")
            return connection.recv(1000).decode()

    def status(self, run):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            all_up = Run(run.name).show_status(())
        return all_up, out.getvalue()


class Life(Services):
    def test_down_and_up_keeps_data_and_address(self):
        first = self.up("redis")
        self.ask_redis(first, "SET greeting hello")
        Run(first.run.name).down()
        self.assertFalse(self.again(first).alive())
        second = self.up("redis")
        self.assertEqual(first.address, second.address)
        self.assertIn("hello", self.ask_redis(second, "GET greeting"))

    def test_up_leaves_what_runs_alone(self):
        self.assertEqual(self.up("redis").pid(), self.up("redis").pid())

    def test_two_that_start_the_same_at_once_start_one(self):
        run = self.run_of()
        command = [sys.executable, COMMAND, "up", "postgres", "--name", run.name]
        with locked():
            both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
            for one in both:
                self.assertIn("waiting", one.stderr.readline())
        told = "".join(one.communicate(timeout=PATIENCE_S)[1] for one in both)
        self.assertEqual([0, 0], [one.returncode for one in both], told)
        self.assertEqual(1, told.count("postgres: started"), told)

    def test_two_runs_share_nothing(self):
        one, other = self.up("redis", mark="a"), self.up("redis", mark="b")
        self.assertNotEqual(one.address, other.address)
        self.ask_redis(one, "SET greeting hello")
        self.assertEqual("$-1\r\n", self.ask_redis(other, "GET greeting"))
        Run(one.run.name).wipe()
        self.assertFalse(one.directory.exists())
        self.assertEqual("+PONG\r\n", self.ask_redis(other, "PING"))

    def test_a_killed_service_is_noticed_and_started_again(self):
        service = self.up("redis")
        os.kill(service.pid(), signal.SIGKILL)
        until(lambda: not self.again(service).alive(), "the end of a killed Redis")
        all_up, shown = self.status(service.run)
        self.assertFalse(all_up)
        self.assertIn("died", shown)
        with self.assertRaisesRegex(Failure, "redis doesn't run: ops/services up"):
            Run(service.run.name).variables()
        self.assertNotEqual(service.pid(), self.up("redis").pid())
        self.assertTrue(self.status(service.run)[0])

    def test_a_pid_that_belongs_to_somebody_else_now_is_neither_believed_nor_signalled(self):
        service = self.up("redis")
        Run(service.run.name).down()
        stranger = subprocess.Popen(["sleep", "60"])
        self.addCleanup(stranger.wait)
        self.addCleanup(stranger.kill)
        service = self.again(service)
        service.state["known"] = processes.identify(stranger.pid) | {"started": 1}
        service.save()
        self.assertFalse(self.again(service).alive())
        Run(service.run.name).down()
        self.assertIsNone(stranger.poll())

    def test_a_stopped_process_can_be_stopped_for_good(self):
        service = self.up("redis")
        os.kill(service.pid(), signal.SIGSTOP)
        Run(service.run.name).down()
        self.assertEqual([], processes.stragglers(service.workplace(), service.executables))

    def test_a_run_that_belongs_to_a_process_ends_with_it(self):
        owner = subprocess.Popen(["sleep", "60"])
        self.addCleanup(owner.wait)
        self.addCleanup(owner.kill)
        run = self.run_of()
        command = [sys.executable, COMMAND, "up", "redis", "--name", run.name, "--with", str(owner.pid)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        service = Run(run.name).made()[0]
        self.assertTrue(service.alive())
        owner.kill()
        owner.wait()
        until(lambda: not run.directory.exists(), "the end of a run whose owner was killed")
        self.assertFalse(service.alive())


class Trouble(Services):
    def test_a_service_that_ends_says_why(self):
        service = self.up("redis")
        Run(service.run.name).down()
        for part in (service.directory / "data" / "appendonlydir").glob("*.manifest"):
            part.write_text("no manifest at all\n")
        with self.assertRaisesRegex(Failure, r"(?s)redis ended instead of starting.*manifest"):
            self.up("redis")

    def test_a_service_that_never_answers_is_given_up_with_its_reason(self):
        service = self.up("redis")
        os.kill(service.pid(), signal.SIGSTOP)
        with self.assertRaisesRegex(Failure, r"redis doesn't answer after 1 s: .*time"):
            Run(service.run.name).wait((), 1)

    def test_a_port_that_is_taken_at_the_last_moment_is_changed(self):
        with socket.socket() as thief:
            thief.bind(("127.0.0.1", 0))
            thief.listen()
            taken = thief.getsockname()[1]
            drawn = iter([taken])
            choose = ports.choose
            with mock.patch("ports.choose", lambda *given: next(drawn, None) or choose(*given)):
                service = self.up("redis")
        self.assertNotEqual(taken, self.again(service).port())

    def test_nothing_to_wait_for_is_said(self):
        with self.assertRaisesRegex(Failure, "nobody has started anything here"):
            self.run_of().wait((), 1)

    def test_a_name_can_not_leave_the_directory_of_runs(self):
        for name in ("", "../x", "a/b", "A", "x" * 33):
            with self.assertRaises(Failure):
                Run(name)


# As much of Docker's client as we call. A container is a Redis of this machine, its name and port kept in a file.
DOCKER = f"""#!{sys.executable}
import json, os, pathlib, signal, subprocess, sys, time
place = pathlib.Path(__file__).parent
verb, words = sys.argv[1], sys.argv[2:]
with (place / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + chr(10))
def state(name):
    file = place / name
    return json.loads(file.read_text()) if file.exists() else None
if verb == "info":
    print("24.0.7")
elif verb == "run":
    name, port = words[words.index("--name") + 1], words[words.index("--publish") + 1].split(":")[1]
    data = place / ("volume-" + name)
    data.mkdir(exist_ok=True)
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", data, *words[words.index("redis-server") + 1 :]]
    quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    (place / name).write_text(json.dumps({{"pid": subprocess.Popen(command, **quiet).pid}}))
elif verb == "inspect":
    if not state(words[0]):
        sys.exit("no such object")
    running = os.path.exists(f"/proc/{{state(words[0])['pid']}}/fd/0")
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    print(json.dumps([{{"State": {{"Running": running, "Pid": state(words[0])["pid"], "StartedAt": now}}}}]))
elif verb == "stop":
    os.kill(state(words[-1])["pid"], signal.SIGTERM)
    while os.path.exists(f"/proc/{{state(words[-1])['pid']}}/fd/0"):
        time.sleep(0.05)
elif verb == "rm":
    if state(words[-1]):
        (place / words[-1]).unlink()
"""


class Containers(Services):
    """The way of the calls; the images themselves need an engine."""

    def setUp(self):
        place = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(place.cleanup)
        self.docker = pathlib.Path(place.name) / "docker"
        self.docker.write_text(DOCKER)
        self.docker.chmod(0o755)
        path = {"PATH": f"{place.name}:{os.environ['PATH']}"}
        for patch in (mock.patch.dict(os.environ, path), mock.patch("redis.Redis.missing", lambda _: ["redis-server"])):
            patch.start()
            self.addCleanup(patch.stop)

    def test_a_service_whose_package_is_missing_runs_in_a_container_and_keeps_its_data(self):
        service = self.up("redis")
        self.assertEqual("docker", service.state["how"])
        self.ask_redis(service, "SET greeting hello")
        self.assertIn("docker", self.status(service.run)[1])
        Run(service.run.name).down()
        self.assertFalse(self.again(service).alive())
        again = self.up("redis")
        self.assertEqual(service.address, again.address)
        self.assertIn("hello", self.ask_redis(again, "GET greeting"))
        Run(service.run.name).wipe()
        calls = self.docker.with_name("calls").read_text()
        self.assertIn(f"--publish 127.0.0.1:{service.port()}:6379", calls)
        self.assertIn(f"volume rm --force chinwag-{service.run.name}-redis", calls)


class Ports(unittest.TestCase):
    def test_none_is_one_that_the_system_gives_to_clients(self):
        first, last = map(int, ports.EPHEMERAL.read_text().split())
        if first - ports.FIRST < 1_000:
            self.skipTest("clients have nearly all ports here")
        for _ in range(50):
            self.assertNotIn(ports.choose(), range(first, last + 1))

    def test_one_in_use_on_any_of_the_hosts_is_not_free(self):
        with socket.socket() as other:
            other.bind(("127.0.0.2", 0))
            other.listen()
            self.assertFalse(ports.free("127.0.0.2", other.getsockname()[1]))


class PostgresLife(Services):
    def test_a_killed_server_leaves_nothing_behind_and_starts_again(self):
        service = self.up("postgres")
        self.assertIsNotNone(service.asked(["psql", "--command", "CREATE DATABASE a_test; "]))
        os.kill(service.pid(), signal.SIGKILL)
        until(lambda: not self.again(service).alive(), "the end of a killed PostgreSQL")
        again = self.up("postgres")
        self.assertIsNotNone(again.asked(["psql", "--command", "DROP DATABASE a_test"]))
        Run(service.run.name).down()
        self.assertEqual([], processes.stragglers(service.workplace(), service.executables))

    def test_it_runs_below_a_directory_that_only_we_may_enter(self):
        run = self.run_of()
        run.create()
        run.directory.chmod(0o700)
        service = self.up("postgres")
        place = service.workplace()
        self.assertEqual(os.getuid() != 0, place.is_relative_to(run.directory.resolve()))
        Run(run.name).wipe()
        self.assertFalse(place.exists())


if __name__ == "__main__":
    unittest.main()

"""What `ops/cluster` promises, tried with a program that only answers /health: python3 ops/cluster.d/test_cluster.py

Needs the services: they are those of the run that TEST_SERVICES names (default: default).
"""

import http.client
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parent / "services.d")]

import processes  # noqa: E402
from clusters import CLUSTERS, Cluster, answers  # noqa: E402
from processes import Failure  # noqa: E402

COMMAND = HERE.parent / "cluster"
SERVICES = os.environ.get("TEST_SERVICES", "default")
PATIENCE_S = 30

# Answers /health on its http address with its own name; says 503 for a moment when it is told to stop.
NODE = f"""#!{sys.executable}
import http.server, os, signal, sys, threading, time
if sys.argv[1] == "cluster-key":
    os.close(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL, 0o600)); sys.exit()
if "--broken" in sys.argv:
    sys.exit("this one is broken")
given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
state = {{"status": 200}}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = given["--node"].encode()
        self.send_response(state["status"])
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
def drain(*_):
    state["status"] = 503
    threading.Timer(float(given.get('--drain', 0.2)), os._exit, [0]).start()
signal.signal(signal.SIGTERM, drain)
assert os.environ["CHINWAG_POSTGRES_PASSWORD"] and not any(os.environ["CHINWAG_POSTGRES_PASSWORD"] in word for word in sys.argv)
for kind in ("--messenger", "--presence"):
    host, port = given[kind].split(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
host, port = given["--http"].split(":")
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


def until(condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.05)


def ask(address):
    """Returns the name of the node that answers, or None."""
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Clusters(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.program = pathlib.Path(place.name) / "node"
        self.program.write_text(NODE)
        self.program.chmod(0o755)
        self.name = f"selftest-{os.getpid()}"
        self.addCleanup((CLUSTERS / f"{self.name}.lock").unlink)
        self.addCleanup(lambda: self.command("wipe"))

    def command(self, *words, check=True):
        told = subprocess.run(
            [COMMAND, "--name", self.name, *words], capture_output=True, text=True, timeout=120, check=False
        )
        if check and told.returncode:
            raise AssertionError(f"{words}: {told.stderr}")
        return told

    def up(self, count, *more):
        self.command("up", str(count), "--bin", str(self.program), "--services", SERVICES, *more)
        return Cluster(self.name)

    def test_its_file_tells_where_everything_is_and_only_to_us(self):
        cluster = self.up(2)
        facts = json.loads(cluster.file.read_text())
        self.assertEqual(["n1", "n2"], [node["name"] for node in facts["nodes"]])
        for node in facts["nodes"]:
            self.assertEqual(node["name"], ask(node["http"]))
            os.kill(node["pid"], 0)
        addresses = [node[kind] for node in facts["nodes"] for kind in ("http", "messenger", "presence", "ops")]
        self.assertEqual(8, len(set(addresses)))
        self.assertEqual(0o600, stat.S_IMODE(cluster.file.stat().st_mode))
        self.assertEqual(0, self.command("status").returncode)

    def test_nodes_can_be_killed_stopped_and_started_again(self):
        cluster = self.up(2)
        first, second = cluster.nodes
        self.command("kill", "n1")
        self.assertFalse(processes.alive(first["known"]))
        self.assertIn("down", self.command("status", check=False).stdout)
        self.assertIn("n1 doesn't run", self.command("term", "n1", check=False).stderr)
        self.command("start", "n1")
        self.assertEqual("n1", ask(first["http"]))
        self.assertNotEqual(first["pid"], Cluster(self.name).member("n1")["pid"])
        self.command("stop", "n2")
        self.assertFalse(answers(second["http"]))
        self.command("cont", "n2")
        until(lambda: answers(second["http"]), "an answer of a node that may go on")
        self.command("term", "n2")
        self.assertFalse(processes.alive(second["known"]))

    def test_down_leaves_nothing_and_up_starts_it_again_at_the_same_addresses(self):
        cluster = self.up(1)
        self.command("down")
        self.assertFalse(processes.alive(cluster.nodes[0]["known"]))
        self.command("up")
        self.assertEqual("n1", ask(cluster.nodes[0]["http"]))
        self.command("wipe")
        self.assertFalse(cluster.directory.exists())

    def test_a_node_that_ends_says_why(self):
        told = self.command("up", "1", "--bin", str(self.program), "--services", SERVICES, "--", "--broken", check=False)
        self.assertEqual(1, told.returncode)
        self.assertIn("n1 ended instead of starting", told.stderr)
        self.assertIn("this one is broken", told.stderr)

    def test_a_cluster_that_belongs_to_a_process_ends_with_it(self):
        owner = subprocess.Popen(["sleep", "60"])
        self.addCleanup(owner.wait)
        self.addCleanup(owner.kill)
        cluster = self.up(1, "--with", str(owner.pid))
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        until(lambda: not cluster.directory.exists(), "the end of a cluster whose owner was killed")
        self.assertFalse(processes.alive(cluster.nodes[0]["known"]))

    def test_a_second_cluster_of_a_name_is_refused(self):
        self.up(1)
        with self.assertRaisesRegex(AssertionError, "there is a cluster .* already"):
            self.up(1)

    def proxied(self, kind):
        cluster = self.up(2, "--proxy", kind)
        for listener in ("http", "messenger", "presence"):
            self.assertEqual({"n1", "n2"}, {ask(cluster.proxy[listener]) for _ in range(8)}, listener)
        self.command("kill", "n1")
        until(lambda: all(ask(cluster.proxy["http"]) == "n2" for _ in range(4)), "only the living node behind the proxy")
        self.command("start", "n1")
        until(lambda: ask(cluster.proxy["http"]) == "n1", "the node that was started again behind the proxy")
        self.command("down")
        self.assertFalse(processes.alive(Cluster(self.name).proxy["known"]))

    def test_haproxy_in_front_sends_nobody_to_a_dead_node(self):
        self.proxied("haproxy")

    def test_nginx_in_front_sends_nobody_to_a_dead_node(self):
        self.proxied("nginx")

    def test_haproxy_sends_nobody_to_a_node_that_is_about_to_stop(self):
        cluster = self.up(2, "--proxy", "haproxy", "--", "--drain", "10")
        os.kill(cluster.nodes[0]["pid"], signal.SIGTERM)
        until(lambda: {ask(cluster.proxy["http"]) for _ in range(4)} == {"n2"}, "only the node that stays behind the proxy")
        self.assertTrue(processes.alive(cluster.nodes[0]["known"]))


class Names(unittest.TestCase):
    def test_a_name_can_not_leave_the_directory_of_clusters(self):
        for name in ("", "../x", "A"):
            with self.assertRaises(Failure):
                Cluster(name)


if __name__ == "__main__":
    unittest.main()

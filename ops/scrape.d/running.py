"""A server and a Prometheus of their own, on free ports and in directories that vanish."""

import contextlib
import http.client
import json
import pathlib
import re
import socket
import subprocess
import time
import urllib.parse

import yaml

OPS = pathlib.Path(__file__).resolve().parent.parent
START_S = 60
TOKEN = "a-token-of-the-scrape-test"


def ended(process, what, log):
    """Says why a process ended before its time."""
    raise SystemExit(f"FAILED: {what} ended with {process.returncode}:\n{log.read_text()[-2000:]}")


@contextlib.contextmanager
def process(command, log, what, **options):
    with log.open("w") as output:
        running = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def wait(condition, patience_s, what, running=None, log=None):
    """Waits until `condition` returns something, and returns that."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if running and running.poll() is not None:
            ended(running, what, log)
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"FAILED: {what} within {patience_s} s")


def get(address, path, token=None):
    """Returns (status, text)."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@contextlib.contextmanager
def server(binary, place):
    """Runs a lone server whose operations listener asks for the token; yields its data directory and its ports."""
    data, log, token = place / "data", place / "server.log", place / "server.token"
    token.touch(0o600)
    token.write_text(TOKEN + "\n")
    addresses = [f"--{kind}=127.0.0.1:0" for kind in ("http", "messenger", "presence", "ops")]
    command = [binary, "serve", f"--data={data}", *addresses, f"--ops-token-file={token}", "--unlimited", "--guests=on", "--log-level=warn"]
    with process(command, log, "the server", cwd=place) as running:
        ports = data / "ports.json"
        wait(lambda: ports.exists() and ports.stat().st_size, START_S, "the server is ready", running, log)
        yield data, json.loads(ports.read_text())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    def __init__(self, address):
        self.address = address

    def api(self, path, **parameters):
        status, text = get(self.address, f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        answer = json.loads(text)
        if status != 200 or answer["status"] != "success":
            raise ValueError(answer.get("error", text))
        return answer["data"]

    def query(self, expression):
        """Returns [(labels, value)] of an instant query."""
        data = self.api("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]


def adapted(targets, interval_s, token_file):
    """Returns our own configuration with these targets; how often it asks and where the token is are the test's."""
    config = yaml.safe_load((OPS / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": f"{interval_s}s", "evaluation_interval": f"{interval_s}s"}
    config["rule_files"] = [str(OPS / "prometheus" / file) for file in config["rule_files"]]
    (job,) = config["scrape_configs"]
    job["authorization"]["credentials_file"] = str(token_file)
    (static,) = job["static_configs"]
    static["targets"] = targets
    return config


@contextlib.contextmanager
def prometheus(targets, place, interval_s):
    token = place / "ops.token"
    token.write_text(TOKEN + "\n")
    config, log = place / "prometheus.yml", place / "prometheus.log"
    config.write_text(yaml.safe_dump(adapted(targets, interval_s, token)))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={place / 'tsdb'}", f"--web.listen-address={address}", "--log.level=warn"]
    with process(command, log, "Prometheus", cwd=place) as running:

        def ready():
            try:
                return get(address, "/-/ready")[0] == 200
            except OSError:
                return False

        wait(ready, START_S, "Prometheus is ready", running, log)
        yield Prometheus(address)


def delivered(report):
    """Reads from what the load test printed how many deliveries it checked."""
    checked = re.search(r"checked: ([\d,]+) messages, ([\d,]+) deliveries", report)
    return int(checked.group(2).replace(",", ""))

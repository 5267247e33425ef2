#!/usr/bin/env python3
"""Runs the Autobahn cases of kosoku (PyPI) against the echo endpoint; exits nonzero when one fails.

    ops/autobahn.py [URL] [CASE ...]

Without a URL it builds and starts `server/examples/echo.rs` on a free port. Without cases it runs all of groups 1 to 7, 10 and 12.
kosoku is installed into a virtual environment under target/.
"""

import json
import os
import pathlib
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "target" / "kosoku"
KOSOKU = "kosoku==0.1.0"
GROUPS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*", "12.*"]
# Fewer mean that the suite changed under us: 246 in groups 1 to 7, 1 in 10, 90 in 12.
LEAST = 337

RUN = """
import asyncio, collections, json, os, sys
from kosoku import FailureError, run_fuzzingclient
url, cases = sys.argv[1], json.loads(sys.argv[2])
try:
    results = asyncio.run(run_fuzzingclient(url, cases, None, concurrency=4))
except FailureError as failure:
    results = failure.results
verdicts = collections.Counter((r.behavior.value, r.behavior_close.value) for r in results)
for verdict, count in sorted(verdicts.items()):
    print(f"{count:5} behaviour {verdict[0]}, close {verdict[1]}")
# An unimplemented case counts as a failure here: everything that is run is implemented.
failed = [r for r in results if not r.passed or r.behavior.value == "UNIMPLEMENTED"]
for r in failed:
    print(f"FAILED {r.case_id}: {r.behavior.value} / {r.behavior_close.value}: {r.result} {r.result_close}")
print(f"{len(results) - len(failed)} of {len(results)} cases passed")
sys.stdout.flush()
# Not sys.exit: with all results in, tearing the suite's native parts down has aborted the interpreter.
os._exit(1 if failed or len(results) < int(sys.argv[3]) else 0)
"""


def interpreter() -> str:
    python = VENV / "bin" / "python"
    if not python.exists():
        venv.create(VENV, with_pip=True)
    have = subprocess.run([python, "-c", "import kosoku"], capture_output=True)
    if have.returncode != 0:
        subprocess.run([python, "-m", "pip", "install", "--quiet", KOSOKU], check=True)
    return str(python)


def main() -> int:
    args = sys.argv[1:]
    url = args.pop(0) if args and "://" in args[0] else None
    cases, least = (args, 1) if args else (GROUPS, LEAST)
    python = interpreter()
    server = None
    if url is None:
        profile = os.environ.get("CARGO_PROFILE", "dev")
        build = ["cargo", "build", "--quiet", "-p", "chinwag", "--example", "echo", "--profile", profile]
        subprocess.run(build, cwd=ROOT, check=True)
        directory = "debug" if profile == "dev" else profile
        binary = ROOT / "target" / directory / "examples" / "echo"
        server = subprocess.Popen([binary, "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        url = server.stdout.readline().strip()
    try:
        return subprocess.run([python, "-c", RUN, url, json.dumps(cases), str(least)]).returncode
    finally:
        if server is not None:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    sys.exit(main())

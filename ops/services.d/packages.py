"""Where the services' programs come from: Debian's packages, and Maven Central for Cassandra."""

import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from processes import Failure

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
TOOLS = TARGET / "tools"

POSTGRES_OLDEST = 15
JAVA_VERSION = 17
# The newest of the jars that must be there for a fetched directory to be believed.
CASSANDRA_VERSION = re.search(r"<cassandra.version>(.*)</", (HERE / "pom.xml").read_text()).group(1)
# Registries fail for a moment now and then; what was fetched before stays in Maven's own cache, so a new try goes on from there.
FETCH_TRIES = 3
FETCH_LIMIT_S = 600
POLICY = pathlib.Path("/usr/sbin/policy-rc.d")


def say(text):
    """Tells a person; standard output is for what scripts read."""
    print(text, file=sys.stderr, flush=True)


def docker_answers():
    """Tells whether there is a Docker engine, not just the client."""
    if not shutil.which("docker"):
        return False
    asked = ["docker", "info", "--format", "{{.ServerVersion}}"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return False
    return told.returncode == 0 and bool(told.stdout.strip())


def postgres_directory():
    """Returns where PostgreSQL's programs are (Debian keeps them out of PATH), or None."""
    versions = {}
    for initdb in pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"):
        versions[initdb.parent.parent.name] = initdb.parent
    if found := shutil.which("initdb"):
        told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        if number := re.search(r"(\d+)", told):
            versions.setdefault(number.group(1), pathlib.Path(found).resolve().parent)
    usable = [name for name in versions if name.isdigit() and int(name) >= POSTGRES_OLDEST]
    # The oldest that is good enough: what we say we support is what we test.
    return versions[min(usable, key=int)] if usable else None


def java():
    """Returns a Java of the version that Cassandra wants, or None."""
    places = [pathlib.Path(home) for home in (os.environ.get("JAVA_HOME"),) if home]
    places += sorted(pathlib.Path("/usr/lib/jvm").glob(f"*{JAVA_VERSION}*"))
    programs = [place / "bin/java" for place in places]
    if found := shutil.which("java"):
        programs.append(pathlib.Path(found))
    for program in programs:
        if not program.exists():
            continue
        told = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
        if re.search(rf'version "{JAVA_VERSION}[."]', told):
            return program.resolve()
    return None


def cassandra_jars():
    """Returns the directory of Cassandra's jars; it may not be there yet."""
    return TOOLS / f"cassandra-{CASSANDRA_VERSION}"


def fetch_cassandra():
    """Fetches Cassandra's jars once; a directory that is there is whole."""
    jars = cassandra_jars()
    if jars.is_dir():
        return
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / "cassandra.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if jars.is_dir():
            return
        partial = jars.with_suffix(".partial")
        say(f"fetching Cassandra {CASSANDRA_VERSION} (66 MB, once; kept in {jars})")
        command = ["mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", "--strict-checksums", "--file", HERE / "pom.xml"]
        command += ["dependency:copy-dependencies", f"-DoutputDirectory={partial}", "-DincludeScope=runtime"]
        for attempt in range(1, FETCH_TRIES + 1):
            try:
                fetched = subprocess.run(command, stdout=sys.stderr, timeout=FETCH_LIMIT_S, check=False).returncode == 0
            except subprocess.TimeoutExpired:
                fetched = False
            if fetched and (partial / f"cassandra-all-{CASSANDRA_VERSION}.jar").is_file():
                partial.rename(jars)
                return
            say(f"fetching Cassandra: try {attempt} of {FETCH_TRIES} failed")
            time.sleep(attempt)
    raise Failure("Cassandra's jars can't be fetched from Maven Central: Maven says why above; the next try goes on from here")


def apt_install(names):
    """Installs Debian packages; needs root. Those that are servers aren't started by it."""
    if os.getuid() != 0 or not shutil.which("apt-get"):
        raise Failure(f"install these Debian packages, or start a Docker engine: apt-get install {' '.join(names)}")
    say(f"installing Debian packages: {' '.join(names)}")
    # Debian starts a server that it installs, and asks this file first.
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update", "-q"], ["install", "-qy", "--no-install-recommends", *names]):
            command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments]
            if subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode:
                raise Failure(f"apt-get {arguments[0]} failed; it says why above")
    finally:
        if ours:
            POLICY.unlink()

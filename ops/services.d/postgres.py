"""PostgreSQL: accounts, memberships, terms.

It refuses to run as root; then it runs as `postgres` or `nobody`, in a directory that belongs to them.
"""

import hashlib
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tempfile

import containers
import packages
import processes
from processes import Failure
from service import NotReady, Service

# Both owns the database of its name and may create others, as tests do; it is no superuser, because a real installation's isn't.
ROLE = "chinwag"
LIMIT_S = 120
SETTINGS = {
    # What is acknowledged is on disk. The defaults, said here because the tests of loss depend on them.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Many tests and nodes at once, with a pool each.
    "max_connections": "300",
    "shared_buffers": "64MB",
    # No sockets in directories: their paths may be 107 bytes long at most.
    "unix_socket_directories": "",
}


class Postgres(Service):
    kind = "postgres"
    executables = ("postgres",)
    # 'Fast': it ends the sessions, then itself. SIGTERM would wait for clients to leave.
    stop_signal = signal.SIGINT

    def missing(self):
        return [] if packages.postgres_directory() else ["postgresql"]

    def program(self, name):
        return packages.postgres_directory() / name

    def user(self):
        """Returns the account that it runs as, None for ours."""
        if os.getuid() != 0:
            return None
        user = processes.account("postgres") or processes.account("nobody")
        if user is None:
            raise Failure("PostgreSQL refuses to run as root, and there is neither an account 'postgres' nor 'nobody'")
        return user

    @property
    def data(self):
        return self.directory / "data"

    def workplace(self):
        return self.data.resolve()

    def prepare(self):
        # `initialised` comes last: a directory without it is what an interruption left.
        if (self.data / "initialised").exists():
            # What a killed one leaves. Nothing works in this directory any more (`Service.start`), though a process of that number may
            # still be waiting for its parent to notice its end; PostgreSQL would take it for itself and refuse.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            return
        self.clear()
        user = self.user()
        place = self.place(user)
        if user:
            os.chown(place, user.pw_uid, user.pw_gid)
        options = ["--username", "postgres", "--auth", "reject", "--encoding", "UTF8", "--locale", "C.UTF-8"]
        self.ask([self.program("initdb"), "--pgdata", place, *options])
        (place / "pg_hba.conf").write_text(f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n")
        # By the server itself, without network, so that no superuser ever needs a password.
        orders = f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{self.run.password}';\nCREATE DATABASE {ROLE} OWNER {ROLE};\n"
        self.ask([self.program("postgres"), "--single", "-j", "-D", place, "postgres"], orders.replace(";\n", ";\n\n"))
        (place / "initialised").touch()

    def place(self, user):
        """Makes the data directory; elsewhere, with a link here, when the account that it runs as can't get here."""
        parents = [self.directory.resolve(), *self.directory.resolve().parents]
        if user is None or all(parent.stat().st_mode & stat.S_IXOTH for parent in parents):
            self.data.mkdir(mode=0o700)
            return self.data
        mark = hashlib.sha256(str(self.directory).encode()).hexdigest()[:12]
        place = pathlib.Path(tempfile.mkdtemp(prefix=f"chinwag-postgres-{mark}-"))
        self.data.symlink_to(place)
        return place

    def clear(self):
        if self.data.is_symlink():
            shutil.rmtree(self.data.resolve(), ignore_errors=True)
            self.data.unlink()
        elif self.data.exists():
            shutil.rmtree(self.data)

    def ask(self, command, orders=""):
        """Runs one of PostgreSQL's programs, its words going to our log."""
        user = self.user()
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        with self.log.open("ab") as out:
            ended = subprocess.run(
                [str(part) for part in command],
                cwd="/",
                env=processes.environment() | {"LC_ALL": "C.UTF-8"},
                input=orders.encode(),
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_S,
                check=False,
                **identity,
            )
        if ended.returncode:
            raise Failure(f"{command[0].name} failed; its last words:\n{self.tail()}")

    def command(self):
        settings = SETTINGS | {"listen_addresses": self.host, "port": str(self.port())}
        command = [self.program("postgres"), "-D", self.workplace()]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return command, self.user()

    def container(self):
        inside = {name: value for name, value in SETTINGS.items() if name != "unix_socket_directories"}
        settings = [part for name, value in inside.items() for part in ("-c", f"{name}={value}")]
        environment = [f"POSTGRES_USER={ROLE}", f"POSTGRES_PASSWORD={self.run.password}", f"POSTGRES_DB={ROLE}"]
        return "postgres:15", settings, self.port(), 5432, environment, (), "/var/lib/postgresql/data"

    def check(self):
        """`pg_isready`, then a query as the role that tests use."""
        listens = ["pg_isready", "--quiet", "--timeout=2"]
        query = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", "SELECT 6 * 7"]
        if self.asked(listens) is None:
            raise NotReady("pg_isready says no")
        if (self.asked(query) or "").strip() != "42":
            raise NotReady(f"role {ROLE} can't ask anything")

    def asked(self, command):
        """Returns what one of PostgreSQL's client programs prints, or None when it fails."""
        if self.in_container:
            return containers.run_inside(self.known, *command, "--username", ROLE, "--dbname", ROLE)
        where = ["--host", self.host, "--port", str(self.port()), "--username", ROLE, "--dbname", ROLE]
        environment = processes.environment() | {"PGPASSWORD": self.run.password, "PGCONNECT_TIMEOUT": "3"}
        program = [str(self.program(command[0])), *command[1:], *where]
        try:
            told = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=10, check=False)
        except subprocess.TimeoutExpired:
            return None
        return told.stdout if told.returncode == 0 else None

    def variable(self):
        return "TEST_POSTGRES_URL", f"postgres://{ROLE}:{self.run.password}@{self.address}/{ROLE}"

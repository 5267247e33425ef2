"""Redis: leases, who is where, and the nodes' mailboxes. Loss of the last second is part of the design, so `everysec`."""

import shutil
import socket

from service import NotReady, Service

PATIENCE_S = 2


class Redis(Service):
    kind = "redis"
    executables = ("redis-server", "redis-check-rdb")

    def missing(self):
        return [] if shutil.which("redis-server") else ["redis-server"]

    def prepare(self):
        (self.directory / "data").mkdir(exist_ok=True)

    def workplace(self):
        return self.directory / "data"

    def settings(self):
        # No snapshots: what has to survive a restart is in the append-only file.
        return ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]

    def command(self):
        listen = ["--bind", self.host, "--port", self.port(), "--dir", self.directory / "data"]
        return [shutil.which("redis-server"), *listen, "--daemonize", "no", *self.settings()], None

    def container(self):
        return "redis:7.0", ["redis-server", *self.settings()], self.port(), 6379, (), (), "/data"

    def check(self):
        try:
            with socket.create_connection((self.host, self.port()), timeout=PATIENCE_S) as connection:
                connection.settimeout(PATIENCE_S)
                connection.sendall(b"PING\r\nINFO server\r\n")
                told = b""
                while b"executable:" not in told:
                    if not (more := connection.recv(16_384)):
                        break
                    told += more
        except OSError as error:
            raise NotReady(str(error)) from error
        if not told.startswith(b"+PONG\r\n"):
            raise NotReady(f"it answers PING with {told[:60].decode(errors='replace').strip()!r}")
        if not self.in_container and f"process_id:{self.pid()}\r\n".encode() not in told:
            raise NotReady("another Redis answers there")

    def variable(self):
        return "TEST_REDIS_URL", f"redis://{self.address}"

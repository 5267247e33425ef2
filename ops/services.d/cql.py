"""As much of the CQL binary protocol (version 4) as it takes to see that a server answers: STARTUP and a query of texts.

Cassandra's specification of it: `doc/native_protocol_v4.spec` in its source.
"""

import socket
import struct

VERSION = 0x04
RESPONSE = 0x84
STARTUP, READY, QUERY, RESULT, ERROR = 0x01, 0x02, 0x07, 0x08, 0x00
ROWS = 0x0002
CONSISTENCY_ONE = 0x0001
# Answers of the system tables are far shorter.
ANSWER_MAX_BYTES = 1 << 20


class CqlError(Exception):
    """An answer that isn't the one wanted."""


def text(value):
    return struct.pack(">H", len(value)) + value.encode()


class Connection:
    """A connection that has said STARTUP."""

    def __init__(self, host, port, timeout_s=5):
        self.socket = socket.create_connection((host, port), timeout=timeout_s)
        self.socket.settimeout(timeout_s)
        options = struct.pack(">H", 1) + text("CQL_VERSION") + text("3.0.0")
        self.ask(STARTUP, options, READY)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, opcode, body, wanted):
        self.socket.sendall(struct.pack(">BBhBI", VERSION, 0, 0, opcode, len(body)) + body)
        version, _, _, told, size = struct.unpack(">BBhBI", self.exactly(9))
        if version != RESPONSE or size > ANSWER_MAX_BYTES:
            raise CqlError("what answers there doesn't speak CQL")
        answer = self.exactly(size)
        if told == ERROR:
            raise CqlError(answer[6:].decode(errors="replace"))
        if told != wanted:
            raise CqlError(f"it answers with opcode {told} instead of {wanted}")
        return answer

    def exactly(self, size):
        whole = b""
        while len(whole) < size:
            if not (more := self.socket.recv(size - len(whole))):
                raise CqlError("it closed the connection")
            whole += more
        return whole

    def rows(self, query):
        """Returns the rows of a query whose columns are simple types, as raw bytes."""
        body = struct.pack(">I", len(query)) + query.encode() + struct.pack(">HB", CONSISTENCY_ONE, 0)
        return rows_of(self.ask(QUERY, body, RESULT))


def rows_of(answer):
    """Reads a result: metadata (names and types, skipped), then the rows."""
    at = 0

    def number(form):
        nonlocal at
        value = struct.unpack_from(form, answer, at)[0]
        at += struct.calcsize(form)
        return value

    def skip_text():
        nonlocal at
        size = number(">H")
        at += size

    if number(">i") != ROWS:
        return []
    flags, columns = number(">i"), number(">i")
    if flags & 0x0001:
        skip_text()
        skip_text()
    for _ in range(columns):
        if not flags & 0x0001:
            skip_text()
            skip_text()
        skip_text()
        number(">H")
    rows = []
    for _ in range(number(">i")):
        row = []
        for _ in range(columns):
            size = number(">i")
            row.append(None if size < 0 else answer[at : at + size])
            at += max(size, 0)
        rows.append(row)
    return rows

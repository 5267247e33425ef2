"""A WebSocket client for thousands of sockets on one thread: text frames in and out, pongs by itself.

Only Python's own library, so that nothing has to be installed; nothing compressed, no fragments (the server sends none).
"""

import asyncio
import base64
import os
import struct

# A server that doesn't answer the upgrade within this time is stopped, or gone without a word.
UPGRADE_S = 2
# No frame of the server is longer; a header that says so is a defect.
FRAME_BYTES_MAX = 4 << 20
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Refused(OSError):
    """The server answered the upgrade with something else."""


class WebSocket(asyncio.Protocol):
    """One socket. `on_text(bytes)` is called for each text frame, `on_end(why)` once, on whatever end."""

    def __init__(self, on_text, on_end):
        self.on_text, self.on_end = on_text, on_end
        self.transport = None
        self.open = asyncio.get_running_loop().create_future()
        self.buffer = bytearray()
        self.close_code = None

    @classmethod
    async def connect(cls, address, path, subprotocol, on_text, on_end):
        """Opens a socket. Raises OSError, or TimeoutError after 2 s."""
        host, port = address.rsplit(":", 1)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(UPGRADE_S):
            _, socket = await loop.create_connection(lambda: cls(on_text, on_end), host, int(port))
            lines = [f"GET {path} HTTP/1.1", f"Host: {address}", "Upgrade: websocket", "Connection: Upgrade"]
            lines += [f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}", "Sec-WebSocket-Version: 13"]
            lines += [f"Sec-WebSocket-Protocol: {subprotocol}"]
            socket.transport.write("\r\n".join([*lines, "", ""]).encode())
            try:
                await socket.open
            except BaseException:
                socket.cut()
                raise
        return socket

    def send(self, text):
        self.frame(TEXT, text.encode())

    def frame(self, kind, payload):
        length = len(payload)
        if length < 126:
            head = bytes((0x80 | kind, 0x80 | length))
        elif length < 1 << 16:
            head = struct.pack(">BBH", 0x80 | kind, 0xFE, length)
        else:
            head = struct.pack(">BBQ", 0x80 | kind, 0xFF, length)
        mask = os.urandom(4)
        key = int.from_bytes((mask * (length // 4 + 1))[:length])
        masked = (int.from_bytes(payload) ^ key).to_bytes(length)
        self.transport.write(head + mask + masked)

    def close(self):
        """Ends it politely, without waiting for the answer."""
        if not self.transport.is_closing():
            self.frame(CLOSE, struct.pack(">H", 1000))
            self.transport.close()

    def cut(self):
        """Ends it as a broken network does."""
        if self.transport is not None:
            self.transport.abort()

    # ---- what asyncio calls -----------------------------------------------------------------------------------

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        if not self.open.done():
            self.open.set_exception(Refused(f"closed before the upgrade: {error}"))
            # Whoever gave up waiting doesn't look.
            self.open.exception()
            return
        if not self.open.cancelled() and self.open.exception() is None:
            self.on_end(f"closed with {self.close_code}" if self.close_code else f"cut off: {error}")

    def data_received(self, data):
        self.buffer += data
        if not self.open.done() and not self.upgraded():
            return
        at, buffer = 0, self.buffer
        while (end := self.one(buffer, at)) is not None:
            at = end
        del buffer[:at]

    def upgraded(self):
        """Takes the answer to the upgrade off the buffer, if it is there whole and is one."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        status = bytes(self.buffer[:end]).split(b"\r\n", 1)[0].decode(errors="replace")
        del self.buffer[: end + 4]
        if " 101 " not in f"{status} ":
            self.open.set_exception(Refused(status))
            self.transport.abort()
            return False
        self.open.set_result(None)
        return True

    def one(self, buffer, at):
        """Handles the frame that begins at `at`; returns where it ends, or None when it isn't there whole."""
        if len(buffer) < at + 2:
            return None
        kind, length = buffer[at] & 0x0F, buffer[at + 1] & 0x7F
        begin = at + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            if len(buffer) < begin + size:
                return None
            length = int.from_bytes(buffer[begin : begin + size])
            begin += size
        if length > FRAME_BYTES_MAX:
            self.transport.abort()
            return None
        if len(buffer) < begin + length:
            return None
        payload = bytes(buffer[begin : begin + length])
        if kind == TEXT:
            self.on_text(payload)
        elif kind == PING and not self.transport.is_closing():
            self.frame(PONG, payload)
        elif kind == CLOSE:
            self.close_code = int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005
            self.transport.close()
        return begin + length

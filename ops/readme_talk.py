#!/usr/bin/env python3
"""Plays what the README shows: three kinds of client, its exact commands and frames, in one room.

    ops/readme_talk.py PORTS.JSON

Starts nothing: PORTS.JSON is that of a running server with guests. Only Python's own library, so the WebSocket client is a small one.
"""

import base64
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Whatever is awaited comes within this time, also on a busy machine.
WAIT_S = 60


class Client:
    """A WebSocket client that reads text frames."""

    def __init__(self, url: str, subprotocol: str | None, headers: list[str]):
        address, _, path = url.removeprefix("ws://").partition("/")
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=WAIT_S)
        lines = [f"GET /{path} HTTP/1.1", f"Host: {address}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}", "Sec-WebSocket-Version: 13"]
        lines += [f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []
        self.socket.sendall("\r\n".join([*lines, *headers, "", ""]).encode())
        self.bytes = self.socket.makefile("rb")
        status = self.bytes.readline().decode()
        if " 101 " not in status:
            raise SystemExit(f"{url}: {status}")
        while self.bytes.readline() != b"\r\n":
            pass
        self.seen: list[dict] = []

    def send(self, text: str) -> None:
        payload, mask = text.encode(), os.urandom(4)
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
        self.socket.sendall(b"\x81" + length + mask + masked)

    def read(self) -> dict | None:
        """Reads a frame; `None` for pings and the like."""
        first, length = self.bytes.read(2)
        if length == 126:
            (length,) = struct.unpack(">H", self.bytes.read(2))
        payload = self.bytes.read(length)
        return json.loads(payload) if first & 0x0F == 1 else None

    def expect(self, what: str, fits) -> dict:
        """Returns the first frame that fits, of those read before or in time."""
        until = time.monotonic() + WAIT_S
        for frame in self.seen:
            if fits(frame):
                return frame
        while time.monotonic() < until:
            try:
                frame = self.read()
            except TimeoutError:
                break
            if frame is not None:
                self.seen.append(frame)
                if fits(frame):
                    return frame
        raise SystemExit(f"FAILED: {what} didn't come; came: {json.dumps(self.seen)}")


def uuid_v7() -> str:
    digits = f"{int(time.time() * 1000):012x}7{os.urandom(2).hex()[:3]}b{os.urandom(8).hex()[:15]}"
    return "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])


def blocks(ports: dict) -> list[str]:
    """Returns the README's blocks that open a socket, with this server's addresses."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace("127.0.0.1:3000", ports["http"][0]).replace("127.0.0.1:4000", ports["messenger"][0])
    found = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "wscat" in block]
    if len(found) != 3:
        raise SystemExit(f"FAILED: {len(found)} blocks with a client instead of 3")
    return found


def play(block: str, fill: dict[str, str]) -> Client:
    """Runs a block's commands and opens its socket; returns the client that has sent all its frames."""
    lines = block.replace("\\\n", "").splitlines()
    commands = [line for line in lines if not line.startswith(("> ", "npx "))]
    (wscat,) = [line for line in lines if line.startswith("npx ")]
    shell = "\n".join(["set -eu", *commands, f"printf '\\n'; printf '%s\\n' {wscat}"])
    words = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout.splitlines()
    words = words[words.index("npx"):]
    after = lambda flag: [words[n + 1] for n, word in enumerate(words) if word == flag]
    client = Client(after("-c")[0], next(iter(after("-s")), None), after("-H"))
    for frame in (line[2:] for line in lines if line.startswith("> ")):
        for placeholder, value in fill.items():
            frame = frame.replace(placeholder, value)
        json.loads(frame)
        if "<" in frame:
            raise SystemExit(f"FAILED: what is meant in {frame}?")
        # Without waiting for answers: the server handles the frames of a socket in order.
        client.send(frame)
    return client


def main() -> int:
    ports = json.loads(pathlib.Path(sys.argv[1]).read_text())
    rooms_block, native_block, messenger_block = blocks(ports)
    rooms = play(rooms_block, {})
    room = rooms.expect("room_joined", lambda frame: frame["type"] == "room_joined")["room"]
    native = play(native_block, {"<id of the room>": room["id"], "<a new UUIDv7>": uuid_v7()})
    fill = {"<id of the room>": room["id"]}
    messenger = play(messenger_block.split('> {"type":"ONE_TO_ONE_CHAT"')[0], fill)
    hello = {"native": "hello from the native protocol", "messenger": "hello from the messenger dialect"}
    for who in ("native", "messenger"):
        what = f"the {who} client's message at the rooms client"
        rooms.expect(what, lambda seen: seen["type"] == "message" and seen["message"]["content"] == hello[who])
    native.expect("the messenger's message at the native client", lambda seen: seen.get("content") == hello["messenger"])
    rooms.send(json.dumps({"type": "send_message", "content": "bye"}))
    native.expect("the rooms client's at the native one", lambda seen: seen.get("content") == "bye")
    messenger.expect("the rooms client's at the messenger one", lambda seen: seen.get("content") == "bye")
    print("    three kinds of client talked with each other in one room, as the README says")
    return 0


if __name__ == "__main__":
    sys.exit(main())

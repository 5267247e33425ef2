#!/usr/bin/env python3
"""A server that fails as it is told, for the tests of the load test.

Takes the arguments of `chinwag serve`, of which only --data counts, and --logins=refuse|hang|die. Registers everybody, is healthy, writes
ports.json, and makes a file `asked` in its data directory when the first login comes.
"""

import http.server
import json
import os
import sys
import threading

data = sys.argv[sys.argv.index("--data") + 1]
logins = next(argument.split("=")[1] for argument in sys.argv if argument.startswith("--logins="))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.answer(200, {"status": "healthy"})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/auth/register":
            self.answer(201, {})
            return
        open(os.path.join(data, "asked"), "w").close()
        if logins == "refuse":
            self.answer(401, {"error": "Invalid username or password"})
        elif logins == "die":
            print("the disk is full", file=sys.stderr, flush=True)
            os._exit(7)
        else:
            threading.Event().wait()

    def log_message(self, *_):
        pass


os.makedirs(data, exist_ok=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
address = "127.0.0.1:%d" % server.server_port
ports = {"http": [address], "messenger": [], "presence": [], "ops": [], "pid": os.getpid()}
path = os.path.join(data, "ports.json")
with open(path + ".new", "w") as file:
    json.dump(ports, file)
os.rename(path + ".new", path)
server.serve_forever()

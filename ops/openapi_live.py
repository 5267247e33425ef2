"""Calls every operation of the OpenAPI documents on a real server (`openapi_check.py --server`).

Each answer must have a status and a content type that the document tells of, and be valid with nothing beside what it tells of. What a
request's schema forbids, the server must refuse and name: a field left out, of another type, too short, too long; a parameter that is
unknown, beyond its bound or not of its list. Each operation must be seen to succeed, and to refuse as it says.
"""

import contextlib
import http.client
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from readme_talk import Client, uuid_v7  # noqa: E402

# Whatever is awaited comes within this time, also on a busy machine.
WAIT_S = 60
# Statuses that only a server in distress, or the wait for a rate's end, would show.
RARE = {"429", "503", "409 explain"}
STRANGER = {"X-Forwarded-For": "203.0.113.7"}
PASSWORD = "correct horse"


@contextlib.contextmanager
def running(binary):
    """Runs the program on free ports with a data directory of its own; yields its addresses."""
    with tempfile.TemporaryDirectory(prefix="chinwag-openapi-") as place:
        ports = pathlib.Path(place, "data/ports.json")
        command = [binary, "serve", "--data", "data", "--unlimited", "--drain-window", "1s", "--messenger", "off", "--presence", "off"]
        with open(pathlib.Path(place, "log"), "wb") as log:
            server = subprocess.Popen([*command, "--http", "127.0.0.1:0", "--ops", "127.0.0.1:0"], cwd=place, env={}, stdout=log, stderr=log)
        try:
            until = time.monotonic() + WAIT_S
            while not ports.exists():
                if server.poll() is not None or time.monotonic() > until:
                    sys.exit(f"FAILED: the server doesn't start:\n{pathlib.Path(place, 'log').read_text()}")
                time.sleep(0.02)
            addresses = json.loads(ports.read_text())
            yield addresses["http"][0], addresses["ops"][0], server
        finally:
            server.kill()
            server.wait()


class Caller:
    """Calls operations of one document, and holds the answers to it."""

    def __init__(self, document, address):
        self.document, self.address = document, address
        self.operations = {(method, path): operation for method, path, operation, _ in document.operations()}
        self.token, self.seen, self.problems = None, set(), []

    def call(self, method, path, body=None, *, expect, query=None, headers=None, fill=None, at=None, bearer=True):
        """Calls an operation; returns the answer's body, read. `at`: an alias of its path."""
        operation = self.operations[method, path]
        target = (at or path).format(**(fill or {})) + ("?" + urllib.parse.urlencode(query) if query else "")
        sent = dict(headers or {})
        if self.token and bearer and operation.get("security") != []:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        for name, parameter in self.document.parameters(operation, "header").items():
            sent.setdefault(name, parameter["example"])
        sent = {name: value for name, value in sent.items() if value is not None}
        text = None
        if body is not None:
            text = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
            if expect < 400:
                self.hold(f"{method} {target}: what is sent", self.document.errors(self.document.body(operation), body, exactly=True))
        connection = http.client.HTTPConnection(self.address, timeout=WAIT_S)
        connection.request(method.upper(), target, text, sent)
        answer = connection.getresponse()
        read = None if answer.status == 101 else answer.read()
        connection.close()
        where = f"{method} {target} {text or ''} → {answer.status}"
        if answer.status != expect:
            self.problems.append(f"{where}, not {expect}: {read}")
            return None
        return self.answered(where, operation, answer, read)

    def answered(self, where, operation, answer, read):
        responses, status = operation["responses"], str(answer.status)
        if status not in responses and "default" not in responses:
            self.problems.append(f"{where}: the document doesn't tell of this status")
            return None
        response = self.document.follow(responses.get(status) or responses["default"])
        self.seen.add((operation["operationId"], status if status in responses else "default"))
        for name in response.get("headers", {}):
            if answer.getheader(name) is None:
                self.problems.append(f"{where}: without {name}")
        contents = response.get("content")
        if contents is None:
            return None
        kind = (answer.getheader("Content-Type") or "").split(";")[0]
        if kind not in contents:
            self.problems.append(f"{where}: {kind!r} instead of {', '.join(contents)}")
            return None
        value = json.loads(read) if kind == "application/json" else read.decode()
        self.hold(where, self.document.errors(contents[kind]["schema"], value, exactly=True))
        return value

    def hold(self, where, errors):
        self.problems += [f"{where}: {error}" for error in errors]

    def refused(self, method, path, body, field):
        """Sends what must be refused because of a field, which must be named."""
        answer = self.call(method, path, body, expect=400)
        if answer is not None and answer.get("field") != field:
            self.problems.append(f"{method} {path} {json.dumps(body)[:200]}: names {answer.get('field')!r} instead of {field!r}")

    def taken(self, method, path, body, field):
        """Sends a body that is as the schema says, with a field just within its bounds or left out: whatever comes of it, the field may not
        be the reason."""
        status, answer = self.raw(method, path, json.dumps(body), {}, None)
        if status == 400 and answer.get("field") == field:
            self.problems.append(f"{method} {path} {json.dumps(body)[:200]}: is refused for {field!r}: {answer}")

    def bodies_refused(self, method, path, good, *, confirmed=None):
        """Sends what the schema of a body forbids; `confirmed`: the field that `confirm` repeats."""
        schema = self.document.follow(self.document.body(self.operations[method, path]))
        for name in schema["required"]:
            self.refused(method, path, {one: value for one, value in good.items() if one != name}, name)
        for name in good.keys() - set(schema["required"]):
            without = {one: value for one, value in good.items() if one != name}
            if not self.document.errors(schema, without):
                self.taken(method, path, without, name)
        for name in good:
            of_name = self.document.follow(schema["properties"][name])
            for length in {of_name.get("minLength"), of_name.get("maxLength")} - {None}:
                bound = {**good, name: "y" * length, **({"confirm": "y" * length} if name == confirmed else {})}
                self.taken(method, path, bound, name)
            lengths = [of_name["minLength"] - 1] if "minLength" in of_name else []
            lengths += [of_name["maxLength"] + 1] if "maxLength" in of_name else []
            for wrong in [5, ["x"], {}, *("x" * length for length in lengths)]:
                bad = {**good, name: wrong}
                if name == confirmed and isinstance(wrong, str):
                    bad["confirm"] = wrong
                self.refused(method, path, bad, name)
        for text, status in (("[]", 400), ("{", 400), (json.dumps({"x": "x" * 16384}), 413)):
            self.raw(method, path, text, {}, status)
        self.raw(method, path, "{}", {"Content-Type": "text/plain"}, 415)

    def raw(self, method, path, text, headers, expect):
        """Sends text as it is; returns status and body."""
        operation = self.operations[method, path]
        connection = http.client.HTTPConnection(self.address, timeout=WAIT_S)
        sent = {"Content-Type": "application/json", **headers, **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        sent |= {name: parameter["example"] for name, parameter in self.document.parameters(operation, "header").items()}
        connection.request(method.upper(), path, text, sent)
        answer = connection.getresponse()
        where = f"{method} {path} {text[:40]} → {answer.status}"
        if expect is not None and answer.status != expect:
            self.problems.append(f"{where}, not {expect}")
        value = self.answered(where, operation, answer, answer.read())
        connection.close()
        return answer.status, value

    def queries_refused(self, path, good):
        """Sends what the schemas of query parameters forbid."""
        for name, parameter in self.document.parameters(self.operations["get", path], "query").items():
            schema = self.document.follow(parameter["schema"])
            wrong = ["x"] if schema.get("type") == "integer" or "enum" in schema or "pattern" in schema else []
            wrong += [schema["maximum"] + 1] if "maximum" in schema else []
            wrong += [schema["minimum"] - 1] if "minimum" in schema else []
            for value in wrong:
                self.call("get", path, expect=400, query={**good, name: value})
            for value in {schema.get("minimum"), schema.get("maximum")} - {None}:
                self.call("get", path, expect=200, query={**good, name: value})
            without = {one: value for one, value in good.items() if one != name}
            self.call("get", path, expect=400 if parameter.get("required") else 200, query=without)
        self.call("get", path, expect=400, query={**good, "unheard_of": 1})

    def unseen(self):
        for operation in self.operations.values():
            name = operation["operationId"]
            for status in operation["responses"]:
                if status != "default" and not {status, f"{status} {name}"} & RARE and (name, status) not in self.seen:
                    yield f"{self.document.name}: {name} never answered {status}"


class Peer(Client):
    """A native client."""

    def __init__(self, address, credentials):
        super().__init__(f"ws://{address}/ws", "chinwag.v1", [])
        self.ask("hello", protocol=1, **credentials)

    def ask(self, kind, **fields):
        request = uuid_v7()
        self.send(json.dumps({"id": request, "type": kind, **fields}))
        return self.expect(kind, lambda frame: frame.get("id") == request)["result"]


def accounts(public):
    """Plays the accounts; leaves `ann` logged in. Returns her token."""
    call, ann = public.call, {"username": "ann", "password": PASSWORD}
    call("post", "/api/auth/register", ann, expect=201)
    call("post", "/api/auth/register", ann, expect=409)
    public.bodies_refused("post", "/api/auth/register", {"username": "someone", "password": PASSWORD})
    call("post", "/api/auth/login", {**ann, "password": "another"}, expect=401)
    for name in ann:
        public.refused("post", "/api/auth/login", {one: ann[one] for one in ann if one != name}, name)
        public.refused("post", "/api/auth/login", {**ann, name: 5}, name)
    for method, path, operation, aliases in public.document.operations():
        if operation.get("security") != []:
            call(method, path, expect=401)
            call(method, path, expect=401, headers={"Authorization": "Bearer nothing"})
        for nth, alias in enumerate(aliases):
            if path.endswith("/register"):
                call(method, path, {"username": f"guest-{nth}", "password": PASSWORD}, expect=201, at=alias)
            elif path.endswith("/login"):
                call(method, path, ann, expect=200, at=alias)
            elif path.endswith("/logout"):
                session = call("post", "/api/auth/login", ann, expect=200)
                call(method, path, expect=200, at=alias, headers={"Authorization": f"Bearer {session['token']}"})
            else:
                call(method, path, expect=200, at=alias)
    session = call("post", "/api/auth/login", ann, expect=200)
    session = call("post", "/api/auth/refresh", {"refresh_token": session["refresh_token"]}, expect=200)
    call("post", "/api/auth/refresh", {"refresh_token": "nothing"}, expect=401)
    public.bodies_refused("post", "/api/auth/refresh", {"refresh_token": "nothing"})
    public.token = session["token"]
    passwords = {"current_password": PASSWORD, "new_password": PASSWORD + "!"}
    public.bodies_refused("post", "/api/auth/password", {**passwords, "current_password": "another"})
    public.token = call("post", "/api/auth/password", passwords, expect=200)["token"]
    call("post", "/api/auth/ticket", expect=200)
    call("get", "/api/profile", expect=200)
    call("put", "/api/profile", {"display_name": "Ann"}, expect=200)
    call("put", "/api/profile", {"display_name": None}, expect=200)
    for body in ({}, {"display_name": 5}, {"display_name": "x" * 65}):
        public.refused("put", "/api/profile", body, "display_name")
    call("get", "/health", expect=200)
    call("head", "/health", expect=200)
    call("get", "/metrics", expect=200)
    call("get", "/metrics", expect=200, query={"format": "prometheus"})
    call("get", "/metrics", expect=200, headers={"Accept": "text/plain"})
    call("get", "/metrics", expect=403, headers=STRANGER)
    return public.token


def looks(ops, room, message):
    """Plays what operators see, while two are in a room."""
    call = ops.call
    for path in ("/health", "/metrics", "/admin/overview", "/admin/actors", "/admin/sockets", "/admin/conversations", "/admin/audit"):
        call("get", path, expect=200)
    for query in ({"kind": "room", "top": 100}, {"kind": "session"}):
        if not call("get", "/admin/actors", expect=200, query=query)["busiest"]:
            ops.problems.append(f"/admin/actors knows nobody of {query}")
    call("get", "/admin/actors", expect=404, query={"kind": "nothing"})
    ops.queries_refused("/admin/actors", {"kind": "room"})
    for query in ({"sort": "lag", "limit": 200}, {"sort": "outbox", "limit": 1}):
        if not call("get", "/admin/sockets", expect=200, query=query)["shown"]:
            ops.problems.append(f"/admin/sockets shows none with {query}")
    ops.queries_refused("/admin/sockets", {})
    if not call("get", "/admin/conversations", expect=200, query={"limit": 100})["shown"]:
        ops.problems.append("/admin/conversations shows none")
    ops.queries_refused("/admin/conversations", {})
    for fill, status in ((room, 200), ("4", 404), ("x", 400)):
        call("get", "/admin/conversation/{id}", expect=status, fill={"id": fill})
    for query in ({}, {"conversation": room}):
        call("get", "/admin/explain", expect=200, query={"message": message, "user": "ann", **query})
    call("get", "/admin/explain", expect=404, query={"message": message, "user": "nobody"})
    ops.queries_refused("/admin/explain", {"message": message, "user": "ann"})
    until = time.monotonic() + WAIT_S
    while not (history := call("get", "/admin/history", expect=200))["at_ms"]:
        if time.monotonic() > until:
            ops.problems.append("/admin/history has no sample")
            break
        time.sleep(0.2)
    call("get", "/admin/history", expect=200, query={"after_ms": history["at_ms"][-1]})
    ops.queries_refused("/admin/history", {})
    # The newest sample is part of it now.
    call("get", "/admin/overview", expect=200)
    call("get", "/admin/live", expect=400)
    handshake = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    call("get", "/admin/live", expect=101, headers=handshake)
    pushed = Client(f"ws://{ops.address}/admin/live", None, []).expect("a push", lambda frame: "kinds" in frame)
    kinds = {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Kind"}}
    ops.hold("/admin/live", ops.document.errors(kinds, pushed["kinds"], exactly=True))


def actions(ops, http_address):
    """Plays what operators do."""
    call = ops.call
    for method, path, operation, _ in ops.document.operations():
        call(method, path, expect=401, headers=STRANGER, fill={"id": "4"})
        if method != "post":
            continue
        if ops.document.parameters(operation, "header"):
            call(method, path, {}, expect=403, headers={"X-Chinwag-Operator": None})
        call(method, path, {}, expect=403, headers={"Sec-Fetch-Site": "cross-site"} if path != "/admin/notification" else {"Origin": f"http://{ops.address}"})
    socket = call("get", "/admin/sockets", expect=200)["shown"][0]["socket"]
    call("post", "/admin/kick", {"socket": socket, "confirm": socket}, expect=200)
    call("post", "/admin/kick", {"socket": "9-9-9-9", "confirm": "9-9-9-9"}, expect=404)
    for path, field, known, unknown in (
        ("/admin/kick", "user", "ann", "nobody"),
        ("/admin/ban", "user", "ann", "nobody"),
        ("/admin/unban", "user", "ann", "nobody"),
        ("/admin/room/close", "room", "Tea room", "No room"),
        ("/admin/room/open", "room", "Tea room", "No room"),
    ):
        call("post", path, {field: known, "confirm": known}, expect=200)
        call("post", path, {field: unknown, "confirm": unknown}, expect=404)
        ops.refused("post", path, {field: known, "confirm": unknown}, "confirm")
        ops.bodies_refused("post", path, {field: known, "confirm": known}, confirmed=field)
    everybody = {"message": "Back in five minutes", "confirm": "everybody"}
    listener = Peer(http_address, {"guest": "listener"})
    call("post", "/admin/broadcast", everybody, expect=200)
    call("post", "/admin/notification", {"message": "For scripts"}, expect=202)
    for text in (everybody["message"], "For scripts"):
        listener.expect("the notification", lambda frame: frame.get("message") == text)
    ops.bodies_refused("post", "/admin/broadcast", everybody)
    ops.bodies_refused("post", "/admin/notification", {"message": "For scripts"})
    call("get", "/admin/audit", expect=200)
    ops.bodies_refused("post", "/admin/drain", {"confirm": "node 0"})
    ops.refused("post", "/admin/drain", {"confirm": "node 1"}, "confirm")
    call("post", "/admin/drain", {"confirm": "node 0"}, expect=200)


def play(binary, public_document, ops_document):
    """Plays everything; returns what is to be told of it, and what is wrong."""
    with running(binary) as (http_address, ops_address, server):
        public, ops = Caller(public_document, http_address), Caller(ops_document, ops_address)
        ann = Peer(http_address, {"token": accounts(public)})
        room = ann.ask("room.create", name="Tea room")["conversation"]["id"]
        guest = Peer(http_address, {"guest": "wanderer"})
        guest.ask("room.listen", conversation=room)
        message = ann.ask("send", conversation=room, message_id=uuid_v7(), content="Kettle's on")["id"]
        looks(ops, room, message)
        actions(ops, http_address)
        server.wait(WAIT_S)
    problems = [*public.problems, *ops.problems, *public.unseen(), *ops.unseen()]
    return f"{len(public.seen) + len(ops.seen)} kinds of answer seen, all as told", problems

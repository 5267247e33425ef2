#!/usr/bin/env python3
"""Holds ops/protocol/asyncapi.yaml to the code: its names to the decoders and encoders, its schemas to the conformance vectors.

    ops/protocol_check.py            exits nonzero and says what differs

Every frame of schema/golden that is no mistake must be of the message that its name says, and be valid there; every name that a decoder
takes must be a message, and the other way round; every example must be valid, and every reference lead somewhere. Mistakes
(`bad_*.json`) that are mistakes of form must be invalid where the schema can say so, or it would allow everything.

Needs PyYAML and jsonschema (Debian: python3-yaml, python3-jsonschema).
"""

import json
import pathlib
import re
import sys

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "schema/golden"
WIRE = ROOT / "schema/src/wire"
DOCUMENT = ROOT / "ops/protocol/asyncapi.yaml"
# A frame that is told with its length instead of its text.
SHORTENED = re.compile(r"<\d+ × .>")

# File of vectors: channel, way, what names the message.
VECTORS = {
    "native/requests.json": ("native", "command", "type"),
    "native/events.json": ("native", "event", "event"),
    "native/replies.json": ("native", "reply", None),
    "native/errors.json": ("native", "reply", None),
    "rooms/client.json": ("rooms", "command", "type"),
    "rooms/server.json": ("rooms", "event", "type"),
    "rooms/errors.json": ("rooms", "event", "type"),
    "rooms/events.json": ("rooms", "event", "type"),
    "messenger/client.json": ("messenger", "command", "type"),
    "messenger/server.json": ("messenger", "event", "type"),
    "messenger/texts.json": ("messenger", "event", "type"),
    "messenger/events.json": ("messenger", "event", "type"),
    "messenger/presence_events.json": ("presence", "event", "type"),
}
# What decoders take: (channel, file, pattern of a line that takes a name).
DECODERS = (
    ("native", "native/decode.rs", r'^            ((?:"[a-z.]+"(?: \| )?)+) => '),
    ("rooms", "rooms/client.rs", r'^        ((?:"[a-z_]+"(?: \| )?)+) => (?!Ok\(RoomsCommand)'),
    ("messenger", "messenger/client.rs", r'^        ((?:"[A-Z_]+"(?: \| )?)+) => '),
)
# Of bad requests, those that are well formed and break a rule that a schema doesn't know pass; at least so many must not.
INVALID_MIN = 30


def frames(file, key):
    """Yields (case, frame) of vectors whose text is there as a whole and is a JSON object."""
    for case in json.loads((GOLDEN / file).read_text()):
        text = case.get(key)
        if not isinstance(text, str) or SHORTENED.search(text):
            continue
        try:
            frame = json.loads(text)
        except ValueError:
            continue
        if isinstance(frame, dict):
            yield case["case"], frame


def references(value):
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


class Check:
    def __init__(self):
        self.document = yaml.safe_load(DOCUMENT.read_text())
        self.messages = self.document["components"]["messages"]
        self.problems, self.valid = [], 0

    def named(self, channel, way, name):
        return self.messages.get(f"{channel}_{way}_{re.sub('[^A-Za-z0-9]', '_', name)}")

    def errors(self, message, frame):
        schema = {**message["payload"], "components": self.document["components"]}
        return sorted(jsonschema.Draft202012Validator(schema).iter_errors(frame), key=str)

    def hold(self, about, message, frame):
        if message is None:
            return self.problems.append(f"{about}: there is no such message")
        for error in self.errors(message, frame):
            self.problems.append(f"{about}: {'/'.join(map(str, error.absolute_path))}: {error.message[:200]}")
        self.valid += 1
        return None

    def vectors(self):
        for file, (channel, way, field) in VECTORS.items():
            key = "in" if way == "command" else "out"
            for case, frame in frames(file, key):
                if field:
                    name = frame[field]
                elif "error" in frame:
                    name = "error"
                else:
                    name = re.split(r"[:, ]", case)[0]
                self.hold(f"{file}: {case}", self.named(channel, way, name), frame)
        # What must be meant, in canonical form.
        for case in json.loads((GOLDEN / "native/requests.json").read_text()):
            if not SHORTENED.search(json.dumps(case["meaning"], ensure_ascii=False)):
                self.hold(f"native/requests.json: meaning of {case['case']}", self.named("native", "command", case["meaning"]["type"]), case["meaning"])

    def mistakes(self):
        invalid = 0
        for case, frame in frames("native/bad_requests.json", "in"):
            message = self.named("native", "command", frame["type"]) if isinstance(frame.get("type"), str) else None
            invalid += bool(message and self.errors(message, frame))
            answer = next(one["answer"] for one in json.loads((GOLDEN / "native/bad_requests.json").read_text()) if one["case"] == case)
            self.hold(f"native/bad_requests.json: answer to {case}", self.named("native", "reply", "error"), answer)
        if invalid < INVALID_MIN:
            self.problems.append(f"only {invalid} bad requests are invalid: the schemas allow too much")
        return invalid

    def names(self):
        for channel, file, pattern in DECODERS:
            taken = {name for line in re.findall(pattern, (WIRE / file).read_text(), re.M) for name in re.findall(r'"([^"]+)"', line)}
            told = {message["name"] for key, message in self.messages.items() if key.startswith(f"{channel}_command_")}
            for name in sorted(taken - told):
                self.problems.append(f"{file} takes {name}, which the document doesn't tell")
            for name in sorted(told - taken):
                self.problems.append(f"the document tells of {name}, which {file} doesn't take")
        seen = {frame["event"] for _, frame in frames("native/events.json", "out")}
        told = {message["name"] for key, message in self.messages.items() if key.startswith("native_event_")}
        if seen != told:
            self.problems.append(f"native events that only one of document and vectors has: {sorted(seen ^ told)}")

    def links(self):
        for reference in references(self.document):
            at = self.document
            for part in reference.removeprefix("#/").split("/"):
                at = at.get(part) if isinstance(at, dict) else None
            if at is None:
                self.problems.append(f"{reference} leads nowhere")

    def form(self):
        """What AsyncAPI 3 asks of the parts that are used here; its own schema comes only from a package of another registry."""
        if not self.document["asyncapi"].startswith("3."):
            self.problems.append("not AsyncAPI 3")
        used = {reference.rsplit("/", 1)[1] for channel in self.document["channels"].values() for reference in references(channel["messages"])}
        self.problems += [f"no channel has {key}" for key in sorted(self.messages.keys() - used)]
        operated = {reference.rsplit("/", 1)[1] for operation in self.document["operations"].values() for reference in references(operation["messages"])}
        self.problems += [f"no operation has {key}" for key in sorted(self.messages.keys() - operated)]
        for operation in self.document["operations"].values():
            if operation["action"] not in ("send", "receive"):
                self.problems.append(f"no action: {operation['action']}")
        for key, message in self.messages.items():
            jsonschema.Draft202012Validator.check_schema(message["payload"])
            if not message["summary"]:
                self.problems.append(f"{key} says nothing of itself")
            for example in message.get("examples", []):
                self.hold(f"example of {key}", message, example["payload"])


def report(problems):
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(f"FAILED: {len(problems)} of the above")


def main():
    check = Check()
    check.links()
    # What follows goes along them.
    report(check.problems)
    check.form()
    check.names()
    check.vectors()
    invalid = check.mistakes()
    report(check.problems)
    print(f"{len(check.messages)} messages; {check.valid} frames valid, {invalid} mistakes found out")


if __name__ == "__main__":
    main()

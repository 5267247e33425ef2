#!/usr/bin/env python3
"""Holds ops/protocol/openapi.yaml and openapi-ops.yaml to the code, and to what a running server answers.

    ops/openapi_check.py                     form, routes, fields, codes and the table in server/docs/index.html
    ops/openapi_check.py --write             writes that table
    ops/openapi_check.py --server BINARY     also starts the program and calls everything (openapi_live.py)

Every route that an application registers must be a path, and the other way round; so must be every field that a handler takes out of a
body, every query parameter, and every code of an error; every example must be valid, and every reference lead somewhere.

Needs PyYAML and jsonschema (Debian: python3-yaml, python3-jsonschema).
"""

import argparse
import html
import pathlib
import re
import sys

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROTOCOL = ROOT / "ops/protocol"
SOURCES = ROOT / "server/src"
INDEX = ROOT / "server/docs/index.html"
# Document: the folder whose routes it has.
DOCUMENTS = {"openapi.yaml": "http", "openapi-ops.yaml": "ops"}
# Pages, which are no API.
PAGES = {"page.rs", "docs.rs", "embedded.rs", "console.rs", "tests.rs"}
METHODS = ("get", "head", "post", "put", "patch", "delete")
# Where the first document lies inside the second, so that references between them can be followed.
PUBLIC = "x-public"


def rebased(value, prefix):
    """Returns a document whose references to itself begin with `prefix`."""
    if isinstance(value, dict):
        moved = {name: rebased(inner, prefix) for name, inner in value.items()}
        if isinstance(value.get("$ref"), str) and value["$ref"].startswith("#/"):
            moved["$ref"] = f"#/{prefix}/{value['$ref'][2:]}"
        return moved
    return [rebased(inner, prefix) for inner in value] if isinstance(value, list) else value


def imported(value):
    """Returns a document whose references to openapi.yaml lead into the copy that it carries."""
    if isinstance(value, dict):
        return {name: re.sub(r"^openapi\.yaml#/", f"#/{PUBLIC}/", inner) if name == "$ref" else imported(inner) for name, inner in value.items()}
    return [imported(inner) for inner in value] if isinstance(value, list) else value


def strict(value):
    """Returns a schema that lets nothing pass that it doesn't tell of: the documents leave room for fields to come, this server's have come."""
    if isinstance(value, dict):
        inner = {name: strict(one) for name, one in value.items()}
        if "properties" in inner:
            inner.setdefault("additionalProperties", False)
        return inner
    return [strict(one) for one in value] if isinstance(value, list) else value


class Document:
    """An OpenAPI document, with what it refers to."""

    def __init__(self, name):
        self.name = name
        self.text = yaml.safe_load((PROTOCOL / name).read_text())
        self.whole = imported(self.text)
        if name != "openapi.yaml":
            self.whole[PUBLIC] = rebased(yaml.safe_load((PROTOCOL / "openapi.yaml").read_text()), PUBLIC)
        self.roots = {key: self.whole[key] for key in ("components", PUBLIC) if key in self.whole}
        self.strict_roots = strict(self.roots)

    def follow(self, value):
        """Returns what a value refers to, or the value."""
        while isinstance(value, dict) and isinstance(value.get("$ref"), str):
            at = self.whole
            for part in value["$ref"].removeprefix("#/").split("/"):
                at = at[part]
            value = at
        return value

    def operations(self):
        """Yields (method, path, operation, aliases of the path)."""
        for path, item in self.whole["paths"].items():
            for method in METHODS:
                if method in item:
                    yield method, path, item[method], item.get("x-aliases", [])

    def body(self, operation):
        """Returns the schema of an operation's JSON body, if it has one."""
        if "requestBody" not in operation:
            return None
        return self.follow(operation["requestBody"])["content"]["application/json"]["schema"]

    def parameters(self, operation, place):
        found = (self.follow(parameter) for parameter in operation.get("parameters", []))
        return {parameter["name"]: parameter for parameter in found if parameter["in"] == place}

    def errors(self, schema, value, exactly=False):
        """Says what of a value isn't as its schema says; with `exactly`, also what the schema doesn't tell of."""
        whole = {**strict(schema), **self.strict_roots} if exactly else {**schema, **self.roots}
        return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in jsonschema.Draft202012Validator(whole).iter_errors(value)]


def code_of(path):
    return path.read_text().split("#[cfg(test)]")[0]


def routes_of(folder):
    """Returns {(method, path)} that the files of a folder register, and what can't be understood of them."""
    routes, problems = set(), []
    for path in sorted((SOURCES / folder).glob("*.rs")):
        if path.name in PAGES:
            continue
        text, seen = code_of(path), 0
        for argument, calls in re.findall(r"web::resource\((.*?)\)((?:\s*\.route\(\s*web::\w+\(\)\.to\(\w+\)\s*\))+)", text):
            methods = re.findall(r"web::(\w+)\(\)", calls)
            seen += len(methods)
            if literal := re.fullmatch(r'"([^"]+)"', argument):
                paths = [literal[1]]
            elif form := re.fullmatch(r'format!\("\{prefix\}([^"]+)"\)', argument):
                paths = [prefix + form[1] for prefix in re.findall(r'"([^"]+)"', re.search(r"const PREFIXES[^=]*= \[(.*?)\]", text, re.S)[1])]
            else:
                paths = re.findall(r'"([^"]+)"', re.search(rf"let {argument} = \[(.*?)\]", text, re.S)[1])
            routes |= {(method, path) for method in methods for path in paths}
        for one, method in re.findall(r'\.route\(\s*"([^"]+)",\s*web::(\w+)\(\)', text):
            seen += 1
            routes.add((method, one))
        there = len(re.findall(rf"web::(?:{'|'.join(METHODS)}|route|method)\(", text))
        if seen != there:
            problems.append(f"{path.name} registers {there} methods, of which {seen} are understood here")
    return routes, problems


def fields_of(folder):
    """Returns the fields that handlers take out of bodies."""
    fields = set()
    for path in (SOURCES / folder).glob("*.rs"):
        if path.name not in PAGES:
            fields |= set(re.findall(r'fields\.(?:text|required|has)\(\s*"(\w+)"', code_of(path)))
            fields |= set(re.findall(r'target\(&fields, "(\w+)"\)', code_of(path)))
    return fields


def queries_of(folder):
    """Returns the query parameters that handlers ask for."""
    names = set()
    for path in (SOURCES / folder).glob("*.rs"):
        for body in re.findall(r"struct Asked \{(.*?)\n\}", code_of(path), re.S):
            names |= set(re.findall(r"^    (\w+):", body, re.M))
        names |= set(re.findall(r'pair == "(\w+)=', code_of(path)))
    return names


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


def differ(what, document, told, there):
    for one in sorted(there - told):
        yield f"{document.name} doesn't tell of the {what} {one}"
    for one in sorted(told - there):
        yield f"{document.name} tells of the {what} {one}, which isn't there"


def links(document):
    for reference in references(document.whole):
        try:
            document.follow({"$ref": reference})
        except (KeyError, TypeError):
            yield f"{document.name}: {reference} leads nowhere"


def contents(document):
    """Yields (where, content) of all bodies."""
    for method, path, operation, _ in document.operations():
        where = f"{document.name}: {method} {path}"
        if "requestBody" in operation:
            yield where, document.follow(operation["requestBody"])["content"]
        for status, response in operation["responses"].items():
            yield f"{where} {status}", document.follow(response).get("content", {})


def form(document):
    if not document.text["openapi"].startswith("3.1."):
        yield f"{document.name} is no OpenAPI 3.1"
    ids = [operation["operationId"] for _, _, operation, _ in document.operations()]
    yield from (f"{document.name}: {one} is there twice" for one in sorted({one for one in ids if ids.count(one) > 1}))
    tags = {tag["name"] for tag in document.text["tags"]}
    for method, path, operation, _ in document.operations():
        where = f"{document.name}: {method} {path}"
        if not operation.get("summary") or not set(operation["tags"]) <= tags:
            yield f"{where}: no summary, or an unknown tag"
        if set(re.findall(r"\{(\w+)\}", path)) != set(document.parameters(operation, "path")):
            yield f"{where}: its parameters aren't those of the path"
    used = {reference.split("components/", 1)[1] for reference in references(document.text) if reference.startswith("#")}
    if document.name == "openapi.yaml":
        used |= {one.split("components/", 1)[1] for one in references(yaml.safe_load((PROTOCOL / "openapi-ops.yaml").read_text())) if one.startswith("openapi.yaml")}
    for kind, all_of in document.text["components"].items():
        yield from (f"{document.name}: nothing refers to {kind}/{name}" for name in all_of if kind != "securitySchemes" and f"{kind}/{name}" not in used)
    for where, content in contents(document):
        for one in content.values():
            jsonschema.Draft202012Validator.check_schema(one["schema"])
            if "example" in one:
                yield from (f"{where}: example: {error}" for error in document.errors(one["schema"], one["example"], exactly=True))


def code(document, folder):
    there, problems = routes_of(folder)
    yield from problems
    told = {(method, path) for method, path, _, aliases in document.operations() for path in [path, *aliases]}
    yield from differ("route", document, told, there)
    bodies = [document.body(operation) for _, _, operation, _ in document.operations()]
    told = {name for body in bodies if body for name in document.follow(body)["properties"]}
    yield from differ("field", document, told, fields_of(folder))
    told = {name for _, _, operation, _ in document.operations() for name in document.parameters(operation, "query")}
    yield from differ("query parameter", document, told, queries_of(folder))


def codes(document):
    body = re.search(r"pub enum ErrorCode \{(.*?)\n\}", (ROOT / "schema/src/error.rs").read_text(), re.S)[1]
    there = {re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() for name in re.findall(r"^    (\w+),", body, re.M)}
    yield from differ("code", document, set(document.text["components"]["schemas"]["Error"]["properties"]["code"]["enum"]), there)


def table(document):
    rows = [
        f"<tr><td><code>{method.upper()}</code></td><td><code>{html.escape(path)}</code></td><td>{html.escape(operation['summary'], quote=False)}</td></tr>"
        for method, path, operation, _ in document.operations()
    ]
    head = "<thead><tr><th scope=\"col\">Method</th><th scope=\"col\">Path</th><th scope=\"col\">What it does</th></tr></thead>"
    return "\n".join(['<div class="scroll" tabindex="0" role="region" aria-label="Routes">', "<table>", head, "<tbody>", *rows, "</tbody>", "</table>", "</div>"])


def index(documents):
    text = INDEX.read_text()
    for document in documents:
        begin, end = f"<!-- {document.name}: written by ops/openapi_check.py --write -->", f"<!-- {document.name} end -->"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{table(document)}\n{end}{rest.split(end)[1]}"
    return text


def report(problems):
    problems = list(problems)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(f"FAILED: {len(problems)} of the above")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--write", action="store_true", help="write the table of server/docs/index.html")
    arguments.add_argument("--server", type=pathlib.Path, help="the program, to be called, too")
    asked = arguments.parse_args()
    documents = [Document(name) for name in DOCUMENTS]
    report(problem for document in documents for problem in links(document))
    if asked.write:
        INDEX.write_text(index(documents))
    problems = [problem for document in documents for problem in [*form(document), *code(document, DOCUMENTS[document.name])]]
    problems += codes(documents[0])
    if index(documents) != INDEX.read_text():
        problems.append("server/docs/index.html: its table isn't that of the documents; run ops/openapi_check.py --write")
    report(problems)
    print(f"{sum(len(list(document.operations())) for document in documents)} operations in {len(documents)} documents, as in the code")
    if asked.server:
        sys.dont_write_bytecode = True
        from openapi_live import play

        told, problems = play(asked.server.resolve(), *documents)
        report(problems)
        print(told)


if __name__ == "__main__":
    main()

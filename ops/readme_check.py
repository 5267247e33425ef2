#!/usr/bin/env python3
"""Holds the documents to the code: settings, exit codes, links, metrics, named tests, the pinned toolchain.

    ops/readme_check.py            exits nonzero and says what differs
    ops/readme_check.py --write    writes the table of settings into README.md
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- settings: written by ops/readme_check.py --write -->", "<!-- settings end -->"

problems = []


def read(path: str) -> str:
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except FileNotFoundError:
        problems.append(f"{path} isn't there")
        return ""


def table() -> str:
    """Makes the table of settings from the macro call that the program itself is made from."""
    source = read("server/src/config/settings.rs").split("\nsettings! {\n", 1)[1].split("\n}\n", 1)[0]
    lines, help_text, count = [], [], 0
    for line in map(str.strip, source.splitlines()):
        heading = re.fullmatch(r'"(.+)" \{', line)
        setting = re.fullmatch(r'(\w+): (\w+) "([^"]*)" = "([^"]*)";', line)
        if heading:
            lines += [f"| **{heading[1]}** | | |"]
        elif line.startswith("/// "):
            help_text.append(line[4:])
        elif setting:
            name, kind, value, default = setting.groups()
            if kind == "Secret":
                shown = f"`CHINWAG_{name.upper()}` only"
            else:
                flag = "--" + name.replace("_", "-")
                # A bare switch means `true`: one that is on by default is only ever switched off.
                switch = "" if default == "false" else "=false"
                shown = f"`{flag}{switch}`" if kind == "Switch" else f"`{flag} {value}`"
            lines.append(f"| {shown} | {f'`{default}`' if default else '–'} | {' '.join(help_text)} |")
            help_text, count = [], count + 1
        elif line not in ("", "}"):
            problems.append(f"settings.rs: can't read '{line}'")
    if count < 30:
        problems.append(f"settings.rs: only {count} settings found")
    return "\n".join([BEGIN, "| setting | default | |", "|---|---|---|", *lines, END])


def check_settings() -> None:
    shown = re.search(re.escape(BEGIN) + r".*?" + re.escape(END), README.read_text(encoding="utf-8"), re.DOTALL)
    if shown is None or shown[0] != table():
        problems.append("README.md: the table of settings differs from settings.rs; run ops/readme_check.py --write")


def check_flags() -> None:
    """Every flag of ours that a document names must exist."""
    known = set(re.findall(r"^        (\w+): (?:One|Many|Switch|Url)", read("server/src/config/settings.rs"), re.MULTILINE))
    known = {"--" + name.replace("_", "-") for name in known}
    known |= {"--" + name.replace("_", "-") for name in re.findall(r"#\[arg\(long.*\)\]\s+(?:pub )?(\w+):", read("server/src/config/cli.rs"))}
    clients = [ROOT / "client/src/bin/chinwag-chat/options.rs"]
    for source in [*sorted((ROOT / "loadtest/src").rglob("*.rs")), *clients]:
        options = re.findall(r"#\[arg\(long.*\)\]\s+(?:pub )?(\w+):", source.read_text(encoding="utf-8"))
        known |= {"--" + name.replace("_", "-") for name in options}
    text = README.read_text(encoding="utf-8")
    spans = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^(?!\||>).*$", "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)), re.MULTILINE)
    for span in spans:
        ours = re.match(r"(?:chinwag|cargo run .*--) |(?=--)", span)
        for flag in re.findall(r"(?:^|(?<=\s))--[a-z][a-z-]+", span[ours.end():] if ours else ""):
            if flag not in known:
                problems.append(f"README.md: there is no flag {flag}")


def check_exit_codes() -> None:
    text = re.search(r"Exit codes: ([^\"]*?)\.\"", read("server/src/config/cli.rs"))
    told = text[1].replace("\\\n", "") if text else ""
    codes = set(re.findall(r"(?:^|, )(\d+) ", told))
    shown = set(re.findall(r"^\| (\d+) \| ", README.read_text(encoding="utf-8"), re.MULTILINE))
    if not codes or codes != shown:
        problems.append(f"README.md: exit codes {sorted(shown)} instead of {sorted(codes)} (server/src/config/cli.rs)")


def check_links(documents: list[str]) -> None:
    """Relative links and paths in backquotes lead somewhere."""
    for document in documents:
        text = read(document)
        base = (ROOT / document).parent
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            if not (base / target).exists():
                problems.append(f"{document}: the link {target} leads nowhere")
        for path in re.findall(r"`((?:actors|schema|server|loadtest|migrations|ops)/[\w./-]+\.\w+)`", text):
            if not (ROOT / path).exists():
                problems.append(f"{document}: {path} isn't there")


def check_named_tests() -> None:
    """A test that ARCHITECTURE.md names for an invariant exists."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in tests_and_sources())
    for name in set(re.findall(r"`(?!chinwag_)([a-z0-9]+(?:_[a-z0-9]+){3,})`", read("ARCHITECTURE.md"))):
        if f"fn {name}(" not in sources and f'test("{name.replace("_", " ")}' not in sources:
            problems.append(f"ARCHITECTURE.md: there is no test {name}")


def tests_and_sources() -> list[pathlib.Path]:
    crates = ["actors", "schema", "server", "client", "loadtest"]
    return [path for crate in crates for path in (ROOT / crate).rglob("*.rs") if "target" not in path.parts]


def check_metrics(documents: list[str]) -> None:
    """A metric that a document names is exported."""
    sources = [ROOT / "server/src/ops/prometheus.rs", *(ROOT / "server/src/ops/prometheus").glob("*.rs")]
    exported = {name for source in sources for name in re.findall(r'"([a-z_]+)"', source.read_text())}
    for document in documents:
        for name in set(re.findall(r"`chinwag_([a-z_]+[a-z])`", read(document))):
            if name not in exported:
                problems.append(f"{document}: there is no metric chinwag_{name}")


def check_toolchain() -> None:
    channel = re.search(r'channel = "([\d.]+)"', read("rust-toolchain.toml"))[1]
    minor = channel.rsplit(".", 1)[0]
    for path, wanted in [("Dockerfile", f"rust:{channel}-"), ("Cargo.toml", f'rust-version = "{minor}"'), ("README.md", f"Rust {minor}")]:
        if wanted not in read(path):
            problems.append(f"{path}: doesn't say '{wanted}' though rust-toolchain.toml says {channel}")


def documents() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [path for path in listed if (ROOT / path).exists()]


def main() -> int:
    if "--write" in sys.argv:
        text = README.read_text(encoding="utf-8")
        text = re.sub(re.escape(BEGIN) + r".*?" + re.escape(END), lambda _: table(), text, flags=re.DOTALL)
        README.write_text(text, encoding="utf-8")
    check_settings()
    check_flags()
    check_exit_codes()
    check_links(documents())
    check_metrics(documents())
    check_named_tests()
    check_toolchain()
    for problem in problems:
        print(f"    {problem}")
    print(f"    {len(documents())} documents: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

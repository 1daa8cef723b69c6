"""Documentation that is held against the code: targets, commands, metrics, configuration keys, files, links."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import typer

from tests.house.checks import tree

#: The seven files one Produce request passes through, in this order (ARCHITECTURE.md tells the journey).
JOURNEY = ("protocol", "frame", "session", "produce", "policy_table", "mask", "ledger")
#: Where operators read why connections are closed (CloseCause in kproxy/errors.py).
CAUSES_TOLD = "docs/operations.md"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)")
_QUOTED = re.compile(r"`([\w./-]+)`")
_FILE_LIKE = re.compile(r"^(?:[\w.-]+/)+[\w.-]*$|^[\w-]+\.(?:py|pyx|pxd|pyi|md|toml|sh|yaml|cfg)$")
#: Methods of yaml_nodes.Section whose first argument is a key of the file being read.
_KEY_READERS = {"take", "need", "optional", "section", "named", "values", "not_yet"}


def _documents(root: Path) -> list[Path]:
    return [path for path in tree.with_suffix(root, ".md")
            if tree.name(root, path) in {"README.md", "ARCHITECTURE.md"} or tree.name(root, path).startswith("docs/")]


def _all_text(root: Path) -> str:
    return "\n".join(tree.text(path) for path in _documents(root))


def check_targets(root: Path) -> list[str]:
    """README and docs name every Make target, and name none that is not there."""
    makefile = root / "Makefile"
    targets = set(re.findall(r"^([a-z][a-z-]*):", tree.text(makefile), re.M))
    text = _all_text(root)
    problems = [f"Makefile: `make {target}` is in no document"
                for target in sorted(targets) if not re.search(rf"\bmake {re.escape(target)}(?![\w-])", text)]
    named = {name for path in _documents(root) for name in re.findall(r"`make ([a-z][a-z-]*)", tree.text(path))}
    return problems + [f"documents name `make {name}`, which is not a target" for name in sorted(named - targets)]


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    """Every command by its words, groups included."""
    found = {path: command} if path else {}
    for name, child in sorted(getattr(command, "commands", {}).items()):
        found |= _commands(child, (*path, name))
    return found


def _application() -> Any:
    from kproxy.cli.app import app

    return typer.main.get_command(app)


def check_commands(root: Path) -> list[str]:
    """Every command of the program is in the documents."""
    text = _all_text(root)
    problems = []
    for words, command in _commands(_application()).items():
        if not hasattr(command, "commands") and not re.search(rf"\bkproxy {re.escape(' '.join(words))}\b", text):
            problems.append(f"`kproxy {' '.join(words)}` is in no document")
    return problems


def check_shown_commands(root: Path) -> list[str]:
    """What the documents show in a shell block can be typed: the command exists, with those options."""
    application = _application()
    problems = []
    for path in _documents(root):
        for language, block in _FENCE.findall(tree.text(path)):
            if language not in {"sh", "bash", "console", "shell"}:
                continue
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                problem = _shown_wrong(application, line.removeprefix("$ ").strip())
                if problem:
                    problems.append(f"{tree.name(root, path)}: {problem}")
    return problems


def _shown_wrong(application: Any, line: str) -> str:
    """What is wrong with one line of a shell block; empty if it is not a kproxy command or nothing is."""
    if not line or line.startswith("#"):
        return ""
    words = shlex.split(line, comments=True)
    while words and (re.match(r"^\w+=", words[0]) or words[0] == "sudo"):
        words.pop(0)
    if not words or words[0].rpartition("/")[2] != "kproxy":
        return ""
    command, rest = application, words[1:]
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return f"`{line}`: no such command: {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "--version", "--json"} if command is application else {"--help"}
    for word in rest:
        if word in {"|", ">", "&&", ";", "2>&1", "&"}:
            break
        if word.startswith("--") and word.split("=")[0] not in known:
            return f"`{line}`: no such option: {word}"
    return ""


def check_metrics(root: Path) -> list[str]:
    """Every metric is documented under docs/."""
    from kproxy.model.metrics import METRICS

    text = "\n".join(tree.text(path) for path in _documents(root) if tree.name(root, path).startswith("docs/"))
    return [f"metric {name} is not in docs/" for name in METRICS if not re.search(rf"\b{name}\b", text)]


def check_close_causes(root: Path) -> list[str]:
    """docs/operations.md has each cause of a close in one row of one table, with when it happens and what to do."""
    table = re.search(r"^\| cause \| when \| what to do \|\n\|[-|]+\n((?:\|.*\n)+)", tree.text(root / CAUSES_TOLD),
                      re.M)
    if table is None:
        return [f"{CAUSES_TOLD}: no table of the causes of a close"]
    told: list[str] = []
    problems = []
    for row in table[1].splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        told += re.findall(r"`(\w+)`", cells[0])
        if len(cells) != 3 or not all(cells):
            problems.append(f"{CAUSES_TOLD}: the row of {cells[0]} does not say when and what to do")
    known = re.findall(r'^    [A-Z_]+ = "(\w+)"$', tree.text(root / "kproxy/errors.py"), re.M)
    return problems + [f"{CAUSES_TOLD}: the cause {cause} is told {told.count(cause)} times, and is one of "
                       f"{known.count(cause)}" for cause in sorted({*told, *known})
                       if (told.count(cause), known.count(cause)) != (1, 1)]


def check_served(root: Path) -> list[str]:
    """Each API that is served and not answered by kproxy itself is in the table of docs/policy.md, and no other is."""
    served = set(re.findall(r'^serve\(\d+, "(\w+)", \d+, \d+, (?!NULL)', tree.text(root / "_ext/apis.pyx"), re.M))
    section = re.search(r"^## What each request needs\n(.*?)^## ", tree.text(root / "docs/policy.md"), re.M | re.S)
    rows = re.findall(r"^\| ([A-Z][\w, ]*) \|", section[1], re.M) if section else []
    told = [name for row in rows for name in row.split(", ")]
    return [f"docs/policy.md: what {name} needs is told {told.count(name)} times, not {int(name in served)}"
            for name in sorted(served | set(told)) if told.count(name) != (name in served)]


def _keys_read(path: Path) -> set[str]:
    return {node.args[0].value for node in ast.walk(ast.parse(tree.text(path)))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _KEY_READERS
            and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)}


def check_config_keys(root: Path) -> list[str]:
    """Every key of kproxy.yaml is in docs/configuration.md, every key of a policy file in docs/policy.md."""
    sources = {"docs/configuration.md": sorted((root / "kproxy").glob("config*.py")),
               "docs/policy.md": sorted((root / "kproxy/policy").glob("*.py"))}
    problems = []
    for document, readers in sources.items():
        text = tree.text(root / document) if (root / document).exists() else ""
        keys = {key for reader in readers if reader.exists() for key in _keys_read(reader)}
        problems += [f"{document}: the key {key} is not in it" for key in sorted(keys)
                     if not re.search(rf"(?<![\w.]){re.escape(key)}(?![\w])", text)]
    return problems


def check_reference(root: Path) -> list[str]:
    """The tables in docs/ are what the scripts make of the code: keys of the structs, events of the log."""
    problems = []
    for script in ("scripts/reference.py", "scripts/log_events.py"):
        done = subprocess.run([sys.executable, script, "--check"], cwd=root, capture_output=True, text=True,
                              timeout=60, env={"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"})
        problems += [*done.stdout.splitlines(), *done.stderr.splitlines()[-1:]]
    return problems


def check_files_named(root: Path) -> list[str]:
    """A path in backticks that starts with a folder of the project exists, and so does the target of every link."""
    folders = {path.relative_to(root).parts[0] for path in tree.files(root) if len(path.relative_to(root).parts) > 1}
    problems = []
    for document in _documents(root):
        text, where = tree.text(document), tree.name(root, document)
        for quoted in sorted(set(_QUOTED.findall(text))):
            if _FILE_LIKE.match(quoted) and quoted.split("/")[0] in folders and not (root / quoted).exists() \
                    and not quoted.startswith(("build/", "dist/")) and "NAME" not in quoted:
                problems.append(f"{where}: names {quoted}, which is not there")
        for target in sorted(set(_LINK.findall(text))):
            if "://" not in target and not target.startswith("mailto:") and not (document.parent / target).exists():
                problems.append(f"{where}: links to {target}, which is not there")
    return problems


def check_journey(root: Path) -> list[str]:
    """ARCHITECTURE.md tells the journey of one Produce through seven files, in their order, and they exist."""
    text = tree.text(root / "ARCHITECTURE.md") if (root / "ARCHITECTURE.md").exists() else ""
    section = re.search(r"^## [^\n]*Produce[^\n]*\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    if section is None:
        return ["ARCHITECTURE.md: no section tells the journey of one Produce request"]
    named = [f"_ext/{module}.pyx" for module in JOURNEY]
    problems = [f"ARCHITECTURE.md: the journey does not name {file}" for file in named if f"`{file}`" not in section[1]]
    problems += [f"ARCHITECTURE.md: the journey names {file}, which is not there" for file in named
                 if not (root / file).exists()]
    firsts = [section[1].find(f"`{file}`") for file in named]
    if not problems and firsts != sorted(firsts):
        problems.append("ARCHITECTURE.md: the journey names its files in another order than they are passed")
    return problems

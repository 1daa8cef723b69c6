"""The order of the native modules. import-linter cannot read .pyx, so their ``cimport`` lines are read here."""

from __future__ import annotations

import re
from pathlib import Path

from tests.house.checks import tree

#: Each module cimports only what stands to its left. Modules in one tuple may not cimport each other.
ORDER: tuple[tuple[str, ...], ...] = (
    ("wire",), ("fields", "yaml_tree"), ("schema",), ("frame", "chunk", "tls_context"), ("tls_records",), ("sockets",),
    ("half", "tls"),
    ("request",), ("compression",), ("record_batch",), ("batch_limits",),
    ("registered",), ("mask",),
    ("policy_table",), ("topic_ids",), ("opening",), ("topic_limits",), ("authorise", "mirrors"),
    ("lists", "broker_configs", "subscriptions"),
    ("produce", "fetch", "metadata", "groups", "group_admin", "topics", "transactions", "admin", "cluster",
     "consumer_groups", "topic_pages", "refused"),
    ("share_fetch",),
    ("apis",), ("slots", "login", "quota"), ("authentication",), ("ledger",), ("session",),
    ("protocol", "playbook", "opened"),
)
#: They drive the others by hand, for tests.
DRIVERS = ("playbook", "opened")
RANK = {module: rank for rank, modules in enumerate(ORDER) for module in modules}
#: Only the module that holds the sockets may know of them.
SHELL_WORDS = ("asyncio", "uvloop", "socket", "time", "random", "threading")
SHELL = "protocol"
_CIMPORT = re.compile(r"^\s*(?:from\s+kproxy\._ext\.(\w+)\s+c?import|cimport\s+kproxy\._ext\.(\w+)"
                      r"|from\s+kproxy\._ext\s+cimport\s+(.+))", re.M)
_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", re.M)


def _native(root: Path) -> list[Path]:
    return [path for path in tree.with_suffix(root, ".pyx", ".pxd")
            if tree.name(root, path).startswith(("_ext/", "kproxy/_ext/"))]


def _native_imports(text: str) -> set[str]:
    found: set[str] = set()
    for match in _CIMPORT.finditer(text):
        names = match[1] or match[2] or match[3]
        found |= {part.split(" as ")[0].strip(" ()") for part in names.split(",")}
    return found - {""}


def check_order_told(root: Path) -> list[str]:
    """ARCHITECTURE.md tells the order as it is and has a row for each module, and every module in it is there."""
    problems = [f"tests/house: {module} has a place in the native order and is not there" for module in RANK
                if not (root / "_ext" / f"{module}.pyx").exists()
                and not (root / "kproxy" / "_ext" / f"{module}.pxd").exists()]
    told = re.search(r"^```\nwire → (.*?)^```", tree.text(root / "ARCHITECTURE.md"), re.M | re.S)
    wanted = " → ".join(", ".join(module for module in modules if module not in DRIVERS) for modules in ORDER)
    found = " ".join(f"wire → {told[1]}".split()) if told else ""
    if found != wanted:
        problems.append(f"ARCHITECTURE.md: the native order is told as {found!r}, and is {wanted!r}")
    table = re.search(r"^\| module \| is \|\n\|[-|]+\n((?:\|.*\n)+)", tree.text(root / "ARCHITECTURE.md"), re.M)
    rows = re.findall(r"^\| `(\w+)` \| \S", table[1], re.M) if table else []
    if rows != re.findall(r"\w+", wanted):
        problems.append(f"ARCHITECTURE.md: the table of native modules has {rows!r}, and the order is {wanted!r}")
    return problems


def check_cimport_order(root: Path) -> list[str]:
    """A native module cimports only what stands to its left in ORDER, and every one has a place there."""
    problems = []
    for path in _native(root):
        if path.stem not in RANK:
            problems.append(f"{tree.name(root, path)}: {path.stem} has no place in the native order (tests/house)")
            continue
        for other in sorted(_native_imports(tree.text(path)) - {path.stem}):
            if RANK.get(other, len(ORDER)) >= RANK[path.stem]:
                problems.append(f"{tree.name(root, path)}: {path.stem} may not import {other}, which does not stand "
                                f"to its left")
    return problems


def check_native_purity(root: Path) -> list[str]:
    """Nothing left of protocol imports asyncio, sockets, clocks or randomness; of kproxy only errors and _ext."""
    problems = []
    for path in _native(root):
        for match in _IMPORT.finditer(tree.text(path)):
            module = match[1] or match[2]
            if module.split(".")[0] in SHELL_WORDS and path.stem != SHELL:
                problems.append(f"{tree.name(root, path)}: only {SHELL} may import {module}")
            if module.startswith("kproxy.") and not module.startswith(("kproxy._ext", "kproxy.errors")):
                problems.append(f"{tree.name(root, path)}: the native half may not import {module}")
    return problems

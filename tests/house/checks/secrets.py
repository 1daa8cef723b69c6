"""Nothing in the tree may tell whose machine it was written on, nor hold a key that opens anything."""

from __future__ import annotations

import re
from pathlib import Path

from tests.house.checks import tree

#: Suffixes of files that are not text.
BINARY = {".png", ".jpg", ".gif", ".ico", ".jar", ".bin", ".gz", ".lz4", ".zst", ".snappy", ".woff2"}
_MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|home/[a-z_][\w-]*|Users/\w+|work/(?:main|shared))/")
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40,}")
_TOKEN = re.compile(r"\beyJ[\w-]{20,}\.eyJ[\w-]{20,}\.[\w-]{40,}")
_CLOUD_KEY = re.compile(r"\b(?:AKIA|ASIA)(?!IOSFODNN7EXAMPLE)[0-9A-Z]{16}\b|\bghp_[A-Za-z0-9]{36}\b")
_INDEX = re.compile(r"(?:--index-url|--extra-index-url|--trusted-host|index-url\s*=|<mirror>|<repository>)\s*\S*")
#: Folders whose files show what a secret looks like, for detectors and attack documents to find.
SHOWN = ("tests/", "docs/policy.md")


def _texts(root: Path) -> list[tuple[str, str]]:
    return [(tree.name(root, path), path.read_text(encoding="utf-8", errors="replace"))
            for path in tree.files(root) if path.suffix not in BINARY]


def check_machine_paths(root: Path) -> list[str]:
    """No file names a home folder, the checkout's own absolute path, or an index that is one machine's choice."""
    own = str(root.resolve())
    problems = []
    for where, text in _texts(root):
        if where.startswith("tests/house/"):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if _MACHINE_PATH.search(line) or (len(own) > 4 and own + "/" in line):
                problems.append(f"{where}:{number}: names a path of one machine")
            if _INDEX.search(line):
                problems.append(f"{where}:{number}: chooses a package index; that is the machine's business")
    return problems


def check_secrets(root: Path) -> list[str]:
    """No private key, signed token or cloud key in a file, sample documents of the tests aside."""
    problems = []
    for where, text in _texts(root):
        if where.startswith(SHOWN):
            continue
        for found in (_PRIVATE_KEY, _TOKEN, _CLOUD_KEY):
            match = found.search(text)
            if match:
                problems.append(f"{where}:{text.count(chr(10), 0, match.start()) + 1}: looks like a secret")
    return problems

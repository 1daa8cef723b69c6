"""Writes the table of log events in docs/operations.md, between the lines that mark its place.

    python scripts/log_events.py [--check]

A row is an event that kproxy's code logs by a fixed word: its worst level and the keys that its lines may have. With
--check nothing is written: exit 1 and a line if the table is stale.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from kproxy.logs import LOG_KEYS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = "docs/operations.md"
_REGION = re.compile(r"(<!-- events of the log: scripts/log_events\.py -->\n).*?(<!-- end of events -->\n)", re.S)
LEVELS = ("error", "warning", "info")
#: ``log.exception`` is an error with its traceback.
_CALLED = {"exception": "error", **{level: level for level in LEVELS}}


def find_events(root: Path) -> dict[str, tuple[str, set[str]]]:
    """Event → (its worst level, its keys). Keys that a call takes from elsewhere (``**facts``) are not seen."""
    found: dict[str, tuple[str, set[str]]] = {}
    for path in sorted((root / "kproxy").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _CALLED):
                continue
            if not (call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
                    and ast.unparse(call.func.value).endswith("log")):
                continue
            level, (before, keys) = _CALLED[call.func.attr], found.get(call.args[0].value, ("info", set()))
            keys |= {word.arg for word in call.keywords if word.arg in LOG_KEYS}
            found[call.args[0].value] = (min(level, before, key=LEVELS.index), keys)
    return found


def render(text: str, events: dict[str, tuple[str, set[str]]]) -> str:
    """Raises SystemExit where the document has no place for the table."""
    rows = "".join(f"| `{event}` | {level} | {', '.join(sorted(keys))} |\n" for event, (level, keys) in
                   sorted(events.items(), key=lambda one: (LEVELS.index(one[1][0]), one[0])))
    table = f"\n| event | level | keys |\n|---|---|---|\n{rows}\n"
    wanted, places = _REGION.subn(lambda match: match[1] + table + match[2], text)
    if places != 1:
        raise SystemExit(f"{DOCUMENT}: {places} places for the events of the log, not one")
    return wanted


def main(arguments: list[str]) -> int:
    path = ROOT / DOCUMENT
    text = path.read_text(encoding="utf-8")
    wanted = render(text, find_events(ROOT))
    if wanted == text:
        return 0
    if "--check" in arguments:
        print(f"{DOCUMENT}: its table of log events is not what the code says; run scripts/log_events.py")
        return 1
    path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Writes the tables of docs/clients.md, between the lines that mark their place, from docs/clients.json.

    python scripts/compatibility.py [--check | --run [pytest arguments]]

docs/clients.json is what tests/clients/test_compatibility.py ended with; --run runs it first, all of it or what the
arguments choose. With --check nothing is written: exit 1 and a line if the tables are stale.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.compatibility import COLUMNS, FEATURES, TRIED, Tried, brokers_have  # noqa: E402

RESULTS = ROOT / "docs" / "clients.json"
DOCUMENT = ROOT / "docs" / "clients.md"
_REGION = re.compile(r"(<!-- clients: scripts/compatibility\.py -->\n).*?(<!-- end of clients -->\n)", re.S)


def cell(features: list[str], tried: Tried, found: dict[str, str], notes: list[str]) -> str:
    """What of these features worked; what the client lacks has a note, and what failed is said in bold."""
    said = []
    for one in features:
        if one in tried.lacks:
            if tried.lacks[one] not in notes:
                notes.append(tried.lacks[one])
            name = "" if FEATURES[one] == "yes" else f" {FEATURES[one]}"
            said.append(f"no{name} ({notes.index(tried.lacks[one]) + 1})")
        elif found.get(one) == "yes":
            said.append(FEATURES[one])
        else:
            said.append(f"**{one}: {'fails' if one in found else 'not tried'}**")
    return ", ".join(said)


def table(broker: str, clients: dict[str, dict[str, str]], versions: dict[str, str]) -> str:
    notes: list[str] = []
    lines = [f"\n## Before Kafka {broker}\n", "| client | version | " + " | ".join(COLUMNS) + " |",
             "|---|---|" + "---|" * len(COLUMNS)]
    for name, tried in TRIED.items():
        if name in clients:
            cells = [cell([one for one in features if brokers_have(one, broker)], tried, clients[name], notes)
                     for features in COLUMNS.values()]
            lines.append(f"| {tried.label} | {versions[name]} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    return "\n".join(lines) + "\n"


def render(text: str, results: dict[str, Any]) -> str:
    """Raises SystemExit where the document has no place for the tables."""
    tables = "".join(table(broker, clients, results["versions"]) for broker, clients in results["brokers"].items())
    wanted, places = _REGION.subn(lambda match: match[1] + tables + "\n" + match[2], text)
    if places != 1:
        raise SystemExit(f"{DOCUMENT.name}: {places} places for the tables of clients, not one")
    return wanted


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--run"]:
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "tests.support.compatibility", "--compatibility",
                        str(RESULTS), "tests/clients/test_compatibility.py", *arguments[1:]], cwd=ROOT, check=False)
    text = DOCUMENT.read_text(encoding="utf-8")
    wanted = render(text, json.loads(RESULTS.read_text(encoding="utf-8")))
    if wanted == text:
        return 0
    if "--check" in arguments:
        print("docs/clients.md: its tables are not what docs/clients.json says; run scripts/compatibility.py")
        return 1
    DOCUMENT.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The table of docs/detectors.md: the rows of the catalogue, and beside each what was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from kproxy._ext import mask
from tests.accuracy.score import Score

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/detectors.md"
_TABLE = re.compile(r"(<!-- catalogue: python -m tests\.accuracy --write -->\n).*?(<!-- end of catalogue -->\n)", re.S)
GROUPS = {
    "person": "People",
    "payment": "Payment",
    "network": "Network",
    "credentials": "Credentials",
    "health": "Health",
    "thing": "Things",
}


def needs(row: mask.Entity) -> str:
    return ", ".join(f"`{word.replace('_', ' ')}`" for word in row.words[:3]) + (", …" if len(row.words) > 3 else "")


def table(measured: Mapping[str, str]) -> str:
    """``measured``: entity → its cells of what was measured, empty where nothing was."""
    lines = []
    for group, title in GROUPS.items():
        lines += [f"### {title}", "", "| entity | rule | a word beside it | precision | recall | Presidio |"]
        lines.append("|---|---|---|---|---|---|")
        lines += [
            f"| `{row.name}` | {row.source} | {needs(row)} | {measured.get(row.name, '| |')} |"
            for row in mask.CATALOGUE
            if row.group == group
        ]
        lines.append("")
    return "\n".join(lines)


def written(text: str, measured: Mapping[str, str]) -> str:
    return _TABLE.sub(lambda match: f"{match[1]}\n{table(measured)}\n{match[2]}", text)


def cells(ours: Score, theirs: Score | None) -> dict[str, str]:
    """Entity → precision, recall and what Presidio reaches."""
    found = {}
    for row in mask.CATALOGUE:
        name = row.name
        other = "–"
        if theirs and theirs.right[name] + theirs.wrong[name]:
            other = f"{theirs.precision(name):.2f} / {theirs.recall(name):.2f}"
        found[name] = f"{ours.precision(name):.3f} | {ours.recall(name):.3f} | {other}"
    return found

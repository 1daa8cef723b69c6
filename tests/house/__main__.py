"""``python -m tests.house [CHECK…]``: runs the house checks and prints what they find. Exit 1 if they find anything."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.house.checks import CHECKS

ROOT = Path(__file__).resolve().parents[2]


def main(wanted: list[str]) -> int:
    found = 0
    for name in wanted or CHECKS:
        for problem in CHECKS[name](ROOT):
            print(f"[{name}] {problem}")
            found += 1
    print(f"house: {len(wanted or CHECKS)} checks, {found} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

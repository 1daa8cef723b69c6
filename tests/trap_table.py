"""Prints the traps of Kafka's protocol, each with the tests of it. A trap without a test is a failure.

    python -m tests.trap_table [--json]      exit 0 if each has a test, 1 if not

A test names the traps it is of by their numbers, ``T17``, in its docstring or a comment, or in its own name, ``_t17_``;
a number in the docstring of a module is every test's in it. What a trap is stands here, once.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRAPS = {
    1: "Unanswered produces by the thousand take no place in the order of answers",
    2: "An unanswered produce that is denied, whole or in part, closes and writes nothing of what is denied",
    3: "A leader dies, and no client learns a broker's own address from the answers that follow",
    4: "A broker that speaks versions above ours: clients agree on ours",
    5: "A version of ApiVersions that nobody knows is answered in version 0 with 35",
    6: "A broker that answers ApiVersions in version 0, whatever it was asked in",
    7: "A broker that advertises API keys of its own maker",
    8: "A librdkafka that compresses only where it is shown old versions of Produce",
    9: "Offsets of a compacted, masked topic keep their gaps",
    10: "A batch that is written anew keeps its base offset",
    11: "Markers and aborted records of transactions, among several batches of one answer",
    12: "A reader goes on over batches that compaction has emptied",
    13: "A record of more than a mebibyte that grows by what hides in it",
    14: "A partition that cannot be masked does not spoil those beside it",
    15: "A request that is cut keeps its timeouts, limits, acks, isolation and transactional id",
    16: "A token ends: who can renews it with requests under way, who cannot is closed",
    17: "The broker's own login is renewed whatever the client does",
    18: "A renewal as somebody else, by another mechanism, twice in a second, during a long poll",
    19: "A pattern of a consumer group obtains no hidden topic, nor one that is made later",
    20: "Tagged fields that nobody knows survive in both directions",
    21: "Error codes that nobody knows reach the client",
    22: "A request right behind the login is not looked at before the client is known",
    23: "A stream in pieces of any size, from its first byte on",
    24: "What real clients send in their own way",
    25: "kproxy's own questions are of no version above the broker's, and create nothing",
    26: "Metadata creates no topic for who may not create it, and describes the others",
    27: "A client that says it is a follower reads as a client",
    28: "Another client's fetch session is not continued",
    29: "A right that is revoked during a session or a long poll takes effect in the next answer",
    30: "Topic ids: unknown, denied, deleted, recreated, beside good ones",
    31: "What brokers tell each other is refused to clients and reaches no broker",
    32: "Configs, quorum and cluster tell no address of a broker or controller",
    33: "Pages of topics are as long as what may be seen, and no cursor names a hidden topic",
    34: "lz4 that kproxy wrote is read by every client and by Kafka",
    35: "snappy with and without frames, gzip in members, zstd without a size, and bombs",
    36: "A batch that the broker cut off shows no byte unmasked",
    37: "A client or a broker that goes with requests under way leaves nothing behind",
    38: "Bytes that are not Kafka's, and sizes that lie",
    39: "What cannot be decoded is never passed on",
    40: "A client that means another cluster or broker is told so",
    41: "Transactions of the second kind are offered whole or not at all",
    42: "A share session ends with its client's connection, and no two clients share one",
    43: "A throttled answer comes at once, the next one waits, and nobody else does",
    44: "Groups of Streams create no internal topic without the right",
    45: "Authorized operations are the policy's, not those of kproxy's account",
    46: "Topics deleted by id: a hidden name is not told, nor a place in the order",
    47: "A description of Streams' topology shows no hidden topic",
    48: "An answer to what was asked before a policy changed follows the new policy",
}
_IN_TEXT, _IN_NAME = re.compile(r"\bT([1-9]\d?)\b"), re.compile(r"_t([1-9]\d?)(?=_)")


def tests_in(path: Path) -> list[tuple[int, str]]:
    """(trap, test) of one file."""
    text = path.read_text()
    tree = ast.parse(text)
    everywhere = numbers(ast.get_docstring(tree) or "", "")
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
            own = numbers(ast.get_source_segment(text, node) or "", node.name)
            found += [(number, node.name) for number in sorted(own | everywhere)]
    return found


def numbers(text: str, name: str) -> set[int]:
    found = {int(one) for one in (*_IN_TEXT.findall(text), *_IN_NAME.findall(name))}
    return found & set(TRAPS)


def rows(folder: Path = ROOT / "tests") -> dict[int, list[str]]:
    """Each trap's tests."""
    found: dict[int, list[str]] = {number: [] for number in TRAPS}
    for path in sorted(folder.rglob("test_*.py")):
        if path.name == "test_trap_table.py":
            continue
        for number, test in tests_in(path):
            found[number].append(f"{path.relative_to(folder.parent)}::{test}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = rows()
    if options.json:
        print(json.dumps([{"trap": number, "title": TRAPS[number], "tests": tests}
                          for number, tests in found.items()], indent=1))
    else:
        for number, tests in found.items():
            print("\n       ".join([f"T{number:<4}  {TRAPS[number]}", *tests]))
    without = [f"T{number}" for number, tests in found.items() if not tests]
    print(f"{len(found)} traps, {sum(map(len, found.values()))} tests of them, {len(without)} traps without a test",
          *without, file=sys.stderr)
    return 1 if without else 0


if __name__ == "__main__":
    sys.exit(main())

"""What opening a large Metadata answer costs, next to a copy and a CRC-32 of the same bytes. Target: 3.

    .venv/bin/python -m bench.micro.metadata [--topics 5000] [--partitions 10] [--rounds 9]

The answer is of all topics; three brokers are rewritten, every topic is decided by the policy table, which holds them
all. With ``hidden`` every second topic is taken out. What is made are the pieces that would be sent. The two take turns
within a round; a ratio is the median of the rounds' own.
"""

from __future__ import annotations

import argparse
import statistics
import time
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from kproxy._ext.opened import Opened
from kproxy._ext.opening import Addresses
from kproxy.model.access import Verdict
from tests.support import frames

METADATA, VERSION = 3, 9
REPEATS = 20


def answer_of(topics: int, partitions: int) -> bytes:
    """A broker's answer as its frame without a size."""
    layout = [{"partition_index": number, "leader_id": number % 3 + 1, "leader_epoch": 5, "replica_nodes": [1, 2, 3],
               "isr_nodes": [1, 2, 3]} for number in range(partitions)]
    return frames.response(METADATA, VERSION, 7, {
        "brokers": [{"node_id": node, "host": f"broker-{node}.internal", "port": 9092, "rack": "a"}
                    for node in (1, 2, 3)],
        "cluster_id": "abc", "controller_id": 1,
        "topics": [{"name": f"team-{number % 50}.orders.{number}", "partitions": layout}
                   for number in range(topics)]})[4:]


def seconds(action: Callable[[], Any], least: float = 0.2) -> float:
    """For one call, over at least ``least`` seconds of them."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < least:
        action()
        count += 1
    return (time.perf_counter() - start) / count


def build(hidden: bool) -> Opened:
    def decide(resource: str, operation: str, name: str, now: float) -> tuple[Verdict, None]:
        shown = not hidden or not name.endswith(("1", "3", "5", "7", "9"))
        return Verdict("allow" if shown else "deny", "r"), None

    return Opened(decide, Addresses("proxy.example.com", 0, 9, 9100))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--topics", type=int, default=5000)
    parser.add_argument("--partitions", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    answer = answer_of(options.topics, options.partitions)
    request = frames.request(METADATA, VERSION, 7, {"topics": None, "allow_auto_topic_creation": False})[4:]
    source = bytearray(answer)
    print(f"{options.topics} topics of {options.partitions} partitions, {len(answer):,} bytes")
    for words, hidden in (("all shown", False), ("every second hidden", True)):
        opened = build(hidden)
        opened.request(request)
        opened.response(answer)
        opening, floor = [], []
        for _ in range(options.rounds):
            floor.append(seconds(lambda: zlib.crc32(bytes(source))) * 1e6)
            opening.append(seconds(partial(opened.repeat_response, answer, REPEATS)) / REPEATS * 1e6)
        ratios = [one / other for one, other in zip(opening, floor, strict=True)]
        print(f"{words:20} {statistics.median(opening):6.0f} us, copy and CRC {statistics.median(floor):5.0f} us, "
              f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()

"""What a look-up of a topic costs in a table of 10,000 rules and topics, over one that serves ten. Target: 1.2.

    .venv/bin/python -m bench.micro.rules [--rounds 15]

A client's topics are few and the policy's many: each table has been asked about all of its topics, and ten of them are
looked up again and again, as a session does. The two take turns within a round; the ratio is the median of the rounds'
own. Beside it: going through all 10,000 by turns, which no cache of a processor holds, and deciding anew, which happens
once for each topic and connection's facts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from bench.micro.policy_table import FACTS, a_policy
from kproxy import policy
from kproxy._ext.policy_table import PolicyTable
from kproxy.model.access import Access

FEW, MANY, LOOK_UPS, DECISIONS = 10, 10_000, 500_000, 1000


def names(count: int) -> list[bytes]:
    return [b"t.%d.orders.v2" % number for number in range(count)]


class Asked:
    """A table under a policy of so many rules, asked about a topic of each. ``decide``: what it asks on a miss."""

    def __init__(self, rules: int) -> None:
        self.decide = decide_by(rules)
        self.table = PolicyTable(self.decide)
        self.table.repeat_look_up("topic", "write", names(rules), 0.0, 1)

    def nanoseconds(self, asked: list[bytes]) -> float:
        rounds = LOOK_UPS // len(asked)
        start = time.perf_counter()
        self.table.repeat_look_up("topic", "write", asked, 0.0, rounds)
        return (time.perf_counter() - start) / (rounds * len(asked)) * 1e9

    def microseconds_anew(self, asked: list[bytes]) -> float:
        start = time.perf_counter()
        for _ in range(DECISIONS // len(asked)):
            for name in asked:
                self.decide("topic", "write", name.decode(), 0.0)
        return (time.perf_counter() - start) / DECISIONS * 1e6


def decide_by(rules: int) -> Callable[[str, str, str, float], tuple[object, object]]:
    decider = policy.compile(policy.load({"bench.yaml": a_policy(rules)}))

    def decide(resource: str, operation: str, name: str, now: float) -> tuple[object, object]:
        access = Access(operation, resource, name)  # type: ignore[arg-type]
        return decider.decide_with_plan(FACTS, access, grants=(), mode="enforce", now=now, count_fields=False)

    return decide


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    small, large = Asked(FEW), Asked(MANY)
    # Spread over all that the large table holds.
    few, spread = names(FEW), names(MANY)[::MANY // FEW]
    hot, anew, by_turns = [], [], []
    for turn in range(options.rounds):
        # Each of the two begins every other round.
        sides = [(small, few), (large, spread)]
        found = {side: (side.nanoseconds(asked), side.microseconds_anew(asked))
                 for side, asked in (sides if turn % 2 else sides[::-1])}
        hot.append((found[small][0], found[large][0]))
        anew.append((found[small][1], found[large][1]))
        by_turns.append(large.nanoseconds(names(MANY)))
    print(line("hot", hot, "ns"), line("decided anew", anew, "us"),
          f"all {MANY:,} by turns: {statistics.median(by_turns):.1f} ns", sep="\n")


def line(what: str, pairs: list[tuple[float, float]], unit: str) -> str:
    ratios = [many / few for few, many in pairs]
    few, many = (statistics.median(side) for side in zip(*pairs, strict=True))
    return (f"{what}: {FEW} rules {few:.1f} {unit}, {MANY:,} rules {many:.1f} {unit}, ratio "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()

"""Two tenants on one node, in any order of requests, answers, reloads, revocations, renewals and topics made anew:
neither sees a byte of what is the other's alone, and each item that is refused has its own code."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from kproxy._ext.apis import SERVED
from tests.support.tenant_node import LOGIN, Node
from tests.support.tenant_rules import FREE, LISTED, has_row
from tests.support.tenants import NAMES, TENANTS, other, owner_of

ROWS = [(api, version) for api, (low, high) in SERVED.items() if api not in LOGIN for version in range(low, high + 1)]
JUDGED = sorted({api for api, _ in ROWS} - FREE)
WHO, ROW, SEED = st.sampled_from(TENANTS), st.sampled_from(ROWS), st.integers(0, 1 << 32)
#: Answers that tell things of their own accord: what their modules leave out or cut away.
TELLING = (1, 3, 9, 10, 15, 16, 35, 46, 55, 65, 66, 69, 74, 77, 78, 79, 90)


def test_every_served_api_has_its_line() -> None:
    assert [api for api in SERVED if not has_row(api)] == [], "tests/support/tenant_rules.py says what it needs"


def play(node: Node, rows: list[tuple[int, int]], seeds: int) -> None:
    """Everything one after the other."""
    for seed in range(seeds):
        chance = random.Random(f"{rows} {seed}")
        node.tenants.cluster = {who: chance.random() < 0.5 for who in TENANTS}
        node.reload()
        for who in TENANTS:
            seat = node.seat(who)
            seat.ask(rows, chance)
            seat.finish()


@pytest.mark.parametrize(("api", "version"), ROWS)
def test_each_version(api: int, version: int) -> None:
    node = Node()
    play(node, [(api, version)], 12)
    assert node.looked_at == 24


class Interleaving(RuleBasedStateMachine):
    """Steps between which anything may be under way."""

    planted: tuple[str, int] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.node = Node(self.planted)

    @rule(who=WHO, rows=st.lists(ROW, min_size=1, max_size=8), seed=SEED)
    def ask(self, who: str, rows: list[tuple[int, int]], seed: int) -> None:
        self.node.seat(who).ask(rows, random.Random(seed))

    @rule(who=WHO, count=st.integers(1, 6))
    def answer(self, who: str, count: int) -> None:
        self.node.seat(who).answer(count)

    @rule(who=WHO)
    def resolve(self, who: str) -> None:
        self.node.seat(who).resolve()

    @rule(who=WHO, names=st.sets(st.sampled_from([name for kind in NAMES.values() for name in kind]), max_size=6),
          level=st.integers(0, 2), cluster=st.booleans())
    def reload(self, who: str, names: set[str], level: int, cluster: bool) -> None:
        """Grants and revocations take effect for everybody at once."""
        for name in names:
            if owner_of(name) != other(who):
                self.node.tenants.grant(who, name, level)
        self.node.tenants.cluster[who] = cluster
        self.node.reload()

    @rule(topic=st.sampled_from(NAMES["topic"]))
    def recreate(self, topic: str) -> None:
        self.node.tenants.recreate(topic)

    @rule(who=WHO, stranger=st.integers(0, 5), row=ROW, seed=SEED)
    def renew(self, who: str, stranger: int, row: tuple[int, int], seed: int) -> None:
        """With requests before and behind it in the same connection; now and then as somebody else."""
        seat = self.node.seat(who)
        seat.renew(stranger == 0)
        seat.ask([row], random.Random(seed))

    @rule(who=WHO)
    def finish(self, who: str) -> None:
        self.node.seat(who).finish()

    def teardown(self) -> None:
        for who in TENANTS:
            self.node.seat(who).finish()


def interleave(examples: int, steps: int, planted: tuple[str, int] | None = None) -> int:
    """How many answers were looked at."""
    looked_at = []

    class Counted(Interleaving):
        def teardown(self) -> None:
            super().teardown()
            looked_at.append(self.node.looked_at)

    Counted.planted = planted
    machine = Counted
    run_state_machine_as_test(machine, settings=settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, report_multiple_bugs=False, database=None,
        suppress_health_check=list(HealthCheck), derandomize=planted is not None,
        # To make an example small takes longer than a test may; SMALLER=1 does it for whoever looks into one.
        phases=list(Phase) if os.environ.get("SMALLER") else [Phase.generate]))
    return sum(looked_at)


def test_any_order() -> None:
    """T29, T48 among it: what is revoked meanwhile is in no answer."""
    assert interleave(150, 30) > 1000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_any_order_for_long() -> None:
    assert interleave(1500, 60) > 40_000


# -- it can fail ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("api", JUDGED)
def test_an_api_that_is_not_authorised_is_found(api: int) -> None:
    """The policy says yes to everything that is asked for this one API."""
    with pytest.raises(AssertionError):
        play(Node(("decider", api)), [row for row in ROWS if row[0] == api], 12)


@pytest.mark.parametrize("api", TELLING)
def test_an_answer_that_is_not_filtered_is_found(api: int) -> None:
    """The broker's answer goes to the client as it came."""
    with pytest.raises(AssertionError):
        play(Node(("answer", api)), [row for row in ROWS if row[0] == api], 12)


@pytest.mark.parametrize("planted", [("decider", 9), ("decider", 16), ("answer", 3)])
def test_the_interleaving_finds_it_too(planted: tuple[str, int]) -> None:
    with pytest.raises(AssertionError):
        interleave(150, 30, planted)


def test_every_list_is_among_those_that_tell() -> None:
    assert set(LISTED) <= set(TELLING)

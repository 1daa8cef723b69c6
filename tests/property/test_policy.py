"""Properties of the policy: order means nothing, forbids only take away, the fast reading is the naive one.

The million requests go through the native table and are compared, every one of them, with what ``Decider.decide`` says
at that very time. The clock moves in steps of at least one second, because a cell whose condition reads ``now`` may be
as old as that; grants begin and end between the steps. To stay fast the interpreter is asked once per distinct
(session, access, time) and its answer kept for the comparison; the table is asked every time.
"""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kproxy import policy
from kproxy._ext.policy_table import PolicyTable
from kproxy.model.access import Access, Facts, Verdict
from kproxy.policy import globs
from tests.support.naive_policy import NaivePolicy, check_verdict, glob_matches
from tests.support.policies import (
    NAMES,
    OPERATIONS,
    random_facts,
    random_grants,
    random_policy,
    shuffled,
)

POLICIES = 50
REQUESTS = 20_000
STEPS = 25
RESOURCES = ("topic", "topic", "topic", "group", "transactional_id", "cluster")

patterns = st.text(alphabet="ab.*\\", max_size=8).filter(lambda text: "\\" not in re.sub(r"\\[*\\]", "", text))
names = st.text(alphabet="ab.*\\", max_size=8)


def random_access(pick: random.Random) -> Access:
    return Access(pick.choice(OPERATIONS), pick.choice(RESOURCES), pick.choice(NAMES))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(40))
def test_the_order_of_rules_means_nothing(seed: int) -> None:
    pick = random.Random(seed)
    made = random_policy(pick)
    one, other = policy.compile(made), policy.compile(shuffled(made, pick))
    grants = random_grants(pick, made)
    for _ in range(60):
        who, access, now = random_facts(pick), random_access(pick), pick.choice((1.0, 11.0, 25.0, 40.0))
        arguments = {"grants": grants, "mode": pick.choice(("enforce", "observe")), "now": now, "count_fields": False}
        assert one.decide_with_plan(who, access, **arguments) == other.decide_with_plan(who, access, **arguments)
        anywhere = Access(access.operation, "any_topic", "")
        assert one.decide(who, anywhere, grants=(), mode="enforce", now=now) == other.decide(
            who, anywhere, grants=(), mode="enforce", now=now)


def test_the_index_agrees_with_a_naive_reading() -> None:
    effects: dict[str, int] = {}
    for seed in range(400):
        pick = random.Random(seed)
        made = random_policy(pick)
        decider, naive, grants = policy.compile(made), NaivePolicy(made), random_grants(pick, made)
        for _ in range(40):
            who, access, now = random_facts(pick), random_access(pick), pick.choice((1.0, 11.0, 25.0, 40.0))
            verdict = decider.decide(who, access, grants=grants, mode="enforce", now=now)
            check_verdict(naive, verdict, who, access, grants, now)
            effects[verdict.effect] = effects.get(verdict.effect, 0) + 1
    assert min(effects.get(effect, 0) for effect in ("allow", "deny", "ask")) > 100


def test_observe_lets_pass_what_enforce_would_not_and_says_so() -> None:
    seen = set()
    for seed in range(60):
        pick = random.Random(seed)
        made = random_policy(pick)
        decider, grants = policy.compile(made), random_grants(pick, made)
        for _ in range(20):
            who, access = random_facts(pick), random_access(pick)
            enforced = decider.decide(who, access, grants=grants, mode="enforce", now=9.0)
            observed = decider.decide(who, access, grants=grants, mode="observe", now=9.0)
            seen.add(enforced.effect)
            assert observed.effect == "allow"
            assert observed.would == (None if enforced.effect == "allow" else enforced.effect)
            assert (observed.rule, observed.valid_until) == (enforced.rule, enforced.valid_until)
            assert observed.wanted is None
    assert seen == {"allow", "deny", "ask"}


class Differential:
    """One policy, a few sessions with a table each, a clock that moves on."""

    def __init__(self, seed: int, most: int) -> None:
        self.pick = random.Random(seed)
        made = random_policy(self.pick)
        self.decider = policy.compile(made)
        self.grants = random_grants(self.pick, made)
        self.now = 0.0
        self.decisions = 0
        self.sessions = [(who, PolicyTable(self.answer_for(who), most)) for who in
                         (random_facts(self.pick) for _ in range(3))]
        self.expected: dict[tuple[int, str, str, bytes], tuple[Verdict, object]] = {}

    def answer_for(self, who: Facts):
        def answer(resource: str, operation: str, name: str, now: float):
            self.decisions += 1
            return self.interpret(who, Access(operation, resource, name), now)  # type: ignore[arg-type]

        return answer

    def interpret(self, who: Facts, access: Access, now: float):
        return self.decider.decide_with_plan(who, access, grants=self.grants, mode="enforce", now=now,
                                             count_fields=False)

    def step(self) -> None:
        self.now += self.pick.choice((1.0, 1.25, 3.0))
        self.expected.clear()

    def request(self) -> bool:
        """One look-up, compared; whether the table answered from a cell."""
        index = self.pick.randrange(len(self.sessions))
        resource, operation = self.pick.choice(RESOURCES), self.pick.choice(OPERATIONS)
        name = self.pick.choice(ENCODED)
        who, table = self.sessions[index]
        before = self.decisions
        verdict, plan, _ = table.look_up_py(resource, operation, name, self.now)
        was_kept = self.decisions == before
        key = (index, resource, operation, name)
        expected = self.expected.get(key)
        if expected is None:
            expected = self.interpret(who, Access(operation, resource, name.decode()), self.now)  # type: ignore[arg-type]
            self.expected[key] = expected
        assert (verdict.effect, verdict.rule, verdict.wanted, verdict.would, plan) == (
            expected[0].effect, expected[0].rule, expected[0].wanted, expected[0].would, expected[1])
        assert self.now < verdict.valid_until or not was_kept
        return was_kept


ENCODED = [name.encode() for name in NAMES]


@pytest.mark.timeout(300)
def test_a_million_requests_through_the_table_equal_the_interpreter() -> None:
    requests = kept = 0
    for seed in range(POLICIES):
        # Every fifth table is so small that it keeps dropping everything.
        run = Differential(seed, most=65536 if seed % 5 else 200)
        for _ in range(STEPS):
            run.step()
            for _ in range(REQUESTS // STEPS):
                kept += run.request()
                requests += 1
        if seed % 5 == 0:
            assert any(table.drops for _, table in run.sessions)
    assert requests == 1_000_000
    assert 500_000 < kept < 1_000_000


@given(patterns, names)
def test_a_glob_matches_what_its_regular_expression_does(pattern: str, name: str) -> None:
    assert globs.matches(pattern, name) == glob_matches(pattern, name)


@given(patterns, patterns, names)
def test_a_containing_glob_matches_whatever_the_inner_one_does(outer: str, inner: str, name: str) -> None:
    if globs.contains(outer, inner) and globs.matches(inner, name):
        assert globs.matches(outer, name)


@given(patterns, patterns, names)
def test_globs_that_share_a_name_overlap(one: str, other: str, name: str) -> None:
    if globs.matches(one, name) and globs.matches(other, name):
        assert globs.overlap(one, other)


@given(st.lists(patterns, max_size=8))
@example(["*", "**", "a", "a*", "a**", "\\*", "*a"])
def test_overlapping_pairs_are_those_that_overlap(given_patterns: list[str]) -> None:
    distinct = list(dict.fromkeys(given_patterns))
    expected = {frozenset((one, other)) for one in distinct for other in distinct
                if one != other and globs.overlap(one, other)}
    found = [frozenset(pair) for pair in globs.overlapping_pairs(given_patterns)]
    assert set(found) == expected
    assert len(found) == len(expected)


@given(st.lists(patterns, max_size=8), names)
def test_the_index_finds_every_glob_that_matches(given_patterns: list[str], name: str) -> None:
    index = globs.GlobIndex((pattern, at) for at, pattern in enumerate(given_patterns))
    assert sorted(index.find(name)) == [at for at, pattern in enumerate(given_patterns) if globs.matches(pattern, name)]

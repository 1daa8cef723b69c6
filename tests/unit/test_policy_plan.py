"""Which masks and guards make up a plan, for whom, and how long it holds."""

from __future__ import annotations

from typing import Any

from kproxy.model.access import Access
from kproxy.model.record_plan import Action, DetectRule, FieldRule, RecordPlan
from kproxy.policy import Decider
from tests.support.policies import EXAMPLE, decider, facts

HMAC, LAST4, BLOCK = Action("hmac", key="k1"), Action("mask", keep_last=4), Action("block")
CARDS = (DetectRule("credit_card", LAST4, "cards"), DetectRule("iban", LAST4, "cards"))


def plan(made: Decider, who: Any, topic: str, direction: Any, count_fields: bool = False,
         mode: Any = "enforce") -> RecordPlan | None:
    return made.plan_records(who, topic, direction, mode=mode, now=0.0, count_fields=count_fields)


def masked(rest: str) -> Decider:
    return decider("roles: {r: {members: {groups: [g]}, allow: [{operations: [all], topics: ['*']}]}}\n" + rest)


def test_a_reader_gets_the_masks_and_an_excepted_one_does_not() -> None:
    made = decider(EXAMPLE)
    assert plan(made, facts("fraud-scoring"), "orders", "consume") == RecordPlan(
        "consume",
        (FieldRule(("items", "[*]", "phone"), HMAC, "contact"), FieldRule(("user", "email"), HMAC, "contact")),
        CARDS, count_fields=True)
    assert plan(made, facts("privacy"), "orders", "consume") == RecordPlan("consume", (), CARDS, count_fields=True)


def test_a_mask_of_one_direction_leaves_the_other() -> None:
    assert plan(decider(EXAMPLE), facts(), "orders", "produce") == RecordPlan("produce", (), CARDS, count_fields=True)


def test_a_guard_comes_with_its_words() -> None:
    found = plan(decider(EXAMPLE), facts("prompter"), "prompts.chat", "produce")
    assert found is not None
    words = "Secrets do not belong in prompts."
    assert found.detectors == (DetectRule("api_key", BLOCK, "secrets", words), *CARDS,
                               DetectRule("private_key", BLOCK, "secrets", words))
    other = plan(decider(EXAMPLE), facts("prompter"), "prompts.chat", "consume")
    assert other is not None
    assert other.detectors == CARDS


def test_nothing_to_do_is_no_plan_unless_fields_are_counted() -> None:
    made = masked("masks: [{name: m, topics: [secret], fields: [a], action: redact}]")
    assert plan(made, facts("g"), "open", "consume") is None
    assert plan(made, facts("g"), "open", "consume", count_fields=True) == RecordPlan("consume", count_fields=True)


def test_fields_are_counted_for_a_reader_whom_every_mask_spares() -> None:
    made = masked("masks: [{name: m, topics: [secret], fields: [a], action: redact, except_roles: [r]}]")
    assert plan(made, facts("g"), "secret", "consume") == RecordPlan("consume", count_fields=True)


def test_observing_marks_the_plan() -> None:
    found = plan(decider(EXAMPLE), facts(), "orders", "consume", mode="observe")
    assert found is not None
    assert found.observe
    assert len(found.fields) == 2


def test_a_condition_in_error_masks_and_guards() -> None:
    made = masked("masks: [{name: m, topics: [t], fields: [a], action: redact, when: 'attested.model == \"x\"'}]\n"
                  "guards: [{name: g, topics: [t], detect: [email], when: 'attested.run == \"x\"'}]")
    planned = made.plan(facts("g"), "t", "produce", mode="enforce", now=0.0, count_fields=False)
    assert planned.condition_errors == ("g", "m")
    assert planned.plan == RecordPlan("produce", (FieldRule(("a",), Action("redact"), "m"),),
                                      (DetectRule("email", BLOCK, "g"),), count_fields=True)
    clear = made.plan(facts("g", attested={"model": "y", "run": "y"}), "t", "produce", mode="enforce", now=0.0,
                      count_fields=False)
    assert (clear.plan, clear.condition_errors) == (RecordPlan("produce", count_fields=True), ())


def test_a_guard_stands_before_a_mask_of_the_same_entity() -> None:
    made = masked("masks: [{name: m, topics: [t], detect: [email, iban], action: redact}]\n"
                  "guards: [{name: g, topics: [t], detect: [email], message: No.}]")
    found = plan(made, facts("g"), "t", "produce")
    assert found is not None
    assert found.detectors == (DetectRule("email", BLOCK, "g", "No."), DetectRule("iban", Action("redact"), "m"))


def test_parts_and_lenience_are_carried() -> None:
    made = masked("masks:\n"
                  "  - {name: m, topics: [t], detect: [email], parts: [key, value], action: {hmac: {key: k1}}}\n"
                  "  - {name: n, topics: [t], fields: [a], action: redact, on_unknown: pass}\n"
                  "  - {name: o, topics: [t, u], fields: [b], action: redact, directions: [produce]}")
    found = plan(made, facts("g"), "t", "consume")
    assert found is not None
    assert (found.parts, found.on_unknown) == (("value", "key"), "pass")
    strict = plan(made, facts("g"), "t", "produce")
    assert strict is not None
    assert strict.on_unknown == "refuse"


def test_a_verdict_lives_no_longer_than_its_plan() -> None:
    made = masked("masks: [{name: m, topics: [t], fields: [a], action: redact, when: 'now.getHours() < 6'}]")
    arguments: dict[str, Any] = {"grants": (), "mode": "enforce", "now": 50.0, "count_fields": False}
    verdict, found = made.decide_with_plan(facts("g"), Access("read", "topic", "t"), **arguments)
    assert (verdict.valid_until, found is not None) == (51.0, True)
    verdict, found = made.decide_with_plan(facts("g"), Access("describe", "topic", "t"), **arguments)
    assert (verdict.valid_until, found) == (float("inf"), None)
    verdict, found = made.decide_with_plan(facts(), Access("read", "topic", "t"), **arguments)
    assert (verdict.effect, found) == ("deny", None)

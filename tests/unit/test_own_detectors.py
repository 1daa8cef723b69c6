"""Detectors that a policy brings along: what they find, and what is told of those that cannot be."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from kproxy._ext import mask
from kproxy.errors import PolicyError
from kproxy.model.record_plan import Action, DetectRule, OwnDetector, RecordPlan
from kproxy.policy.load import load
from tests.support.batches import Record, write_batch
from tests.support.record_plans import value_after

BADGE = OwnDetector("badge", r"B-\d{6}", context=("badge", "staff no"))


def hide(own: OwnDetector, text: str) -> str | None:
    value = value_after(plan_of(own), text.encode())
    return None if value is None else value.decode()


def plan_of(*owns: OwnDetector, kind: str = "replace") -> mask.Plan:
    rules = tuple(DetectRule(own.name, Action(kind, text="#"), f"d:{own.name}", "stays inside") for own in owns)  # type: ignore[arg-type]
    return mask.Plan(mask.compile_plan(RecordPlan("produce", detectors=rules, own=owns), {}))


def problems_of(policy: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load({"p.yaml": policy.encode()})
    return [f"{one.file}:{one.line}: {one.message}" for one in caught.value.problems]


def test_a_pattern_finds_where_one_of_its_words_stands():
    assert hide(BADGE, '{"badge":"B-123456","n":1}') == '{"badge":"#","n":1}'
    assert hide(BADGE, "staff-no B-123456, and xB-123456") == "staff-no #, and xB-123456"
    assert hide(BADGE, '{"badge":null,"order":"B-123456"}') == '{"badge":null,"order":"B-123456"}'
    assert hide(BADGE, "badge B-1234567") == "badge B-1234567"


def test_a_deny_list_finds_whole_words_in_any_case():
    words = OwnDetector("project", deny_list=("bluebird", "Project Heron", "C++ (new)"))
    assert hide(words, '{"t":"BlueBird and project heron, c++ (NEW)."}') == '{"t":"# and #, #."}'
    assert hide(words, '{"t":"bluebirds, project-heron"}') == '{"t":"bluebirds, project-heron"}'
    assert hide(OwnDetector("two", deny_list=("xy", "ünfug")), "xy xyz ünfug") == "# xyz #"


def test_digits_may_have_to_pass_a_checksum():
    member = OwnDetector("member", r"M\d{10}", checksum="luhn")
    assert hide(member, "M7992739871 M4111111111 M0000000018") == "M7992739871 M4111111111 #"


def test_a_plan_of_own_and_catalogued_detectors_counts_each_under_its_name():
    rules = tuple(
        DetectRule(name, Action("block" if name == "email" else "redact"), name, "no") for name in ("badge", "email")
    )
    plan = mask.Plan(mask.compile_plan(RecordPlan("produce", detectors=rules, own=(BADGE,), observe=True), {}))
    plan.transform(write_batch([Record(value=b"badge B-123456 of a@b.cd")]))
    assert plan.take_counts()["entities"] == {"badge": 1, "email": 1}


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        (r"(?=a)b", "there is no lookaround"),
        (r"(?<!a)b", "there is no lookaround"),
        (r"(a)\1", "no references back"),
        (r"a++", "nothing atomic or possessive"),
        (r"(?>ab)", "nothing atomic or possessive"),
        (r"(?(1)a|b)", "no conditions"),
        (r"a\Z", r"write \z"),
        (r"a{2000}", "a repetition is of 1000 at most"),
        (r"((a{100}){100}){100}", "RE2 does not take the pattern"),
        ("[^a]{1000}" * 150, "too large"),
        (r"(", "missing )"),
        (r"a*", "it matches the empty text"),
        ("a" * 2001, "2000 are the most"),
    ],
)
def test_what_re2_does_not_take_is_told_with_its_line_and_a_way_to_write_it(pattern: str, told: str):
    quoted = pattern.replace("'", "''")
    [problem] = problems_of(f"detectors:\n  badge:\n    pattern: '{quoted}'\n    context: [badge]\n")
    assert problem.startswith("p.yaml:3: ") and told in problem


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("detectors: {email: {pattern: a}}", "is no name for a detector"),
        ("detectors: {Badge: {pattern: a}}", "is no name for a detector"),
        ("detectors: {badge: {context: [a1]}}", "either a pattern or a deny_list"),
        ("detectors: {badge: {pattern: ab, deny_list: [ab]}}", "either a pattern or a deny_list"),
        ("detectors: {badge: {deny_list: [a]}}", "is no word"),
        ("guards: [{name: g, topics: [t], detect: [bagde]}]\ndetectors: {badge: {pattern: ab}}", "did you mean badge"),
        ("detectors: {" + ", ".join(f"d{n}: {{pattern: ab}}" for n in range(33)) + "}", "32 are the most"),
    ],
)
def test_a_detector_that_cannot_be_is_told(policy: str, told: str):
    assert any(told in problem for problem in problems_of(policy)), problems_of(policy)


def test_the_examples_of_the_document_load_and_do_what_it_says():
    document = (Path(__file__).resolve().parents[2] / "docs/detectors.md").read_text()
    catalogued, own = (load({"p.yaml": block.encode()}) for block in re.findall(r"```yaml\n(.*?)```", document, re.S))
    assert set(catalogued.guards[0].detect) <= set(mask.ENTITIES)
    made = [OwnDetector(one.name, one.pattern, one.deny_list, one.context) for one in own.detectors]
    plan = plan_of(*made, kind="block")
    refused = plan.transform(write_batch([Record(value=b'{"badge": "B-123456"}')]))
    assert (refused.status, refused.record_errors) == ("refused", [(0, "stays inside")])
    assert plan.transform(write_batch([Record(value=b'{"order": "B-123456"}')])).status == "same"
    assert plan.transform(write_batch([Record(value=b'{"about": "project heron"}')])).status == "refused"


def test_a_rule_may_name_a_detector_of_another_file():
    policy = load(
        {
            "a.yaml": b"guards: [{name: g, topics: [t], detect: [badge]}]",
            "b.yaml": rb"detectors: {badge: {pattern: 'B-\d{6}', context: [badge]}}",
        }
    )
    assert [own.name for own in policy.detectors] == ["badge"] and policy.guards[0].detect == ("badge",)


@pytest.mark.parametrize("pattern", [r"a+b?", r"-+x?", r"\d(?:-\d)*x?", r"[a-z ]+"])
@pytest.mark.parametrize("run", ["a", "-", "1-", "ab ", "1"])
def test_no_text_takes_long_whatever_the_pattern(pattern: str, run: str):
    plan = plan_of(OwnDetector("own", pattern, context=("nowhere",)))
    batch = write_batch([Record(value=("x" + run * (200_000 // len(run)) + "_").encode())])
    began = time.thread_time()
    plan.transform(batch)
    assert time.thread_time() - began < 5

"""Paths with wildcards, allow-lists and names of members, on documents of every shape, against their slow reading."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import random
from typing import Any

import pytest

from kproxy._ext import mask
from kproxy.model.record_plan import Action, AllowList, FieldRule, RecordPlan
from kproxy.policy import field_paths
from tests.support.batches import Record, read_batches, write_batch
from tests.support.slow_paths import Path, Place, hides_names, is_at, is_kept, rule_at

MARK = "#"
HIDE, KEY = Action("replace", text=MARK), Action("hmac", key="k1")
KEYS = {"k1": b"0123456789abcdef"}
NAMES = ("a", "b", "secret", "*", "**", "~", "[*]", "\\x", "a.b", "né", "")
STEPS = ("a", "b", "secret", "\\*", "\\**", "\\~", "\\[*]", "\\\\x", "a.b", "né", "", "[*]", "[*]", "*", "**", "**")


class Pairs(list[tuple[str, Any]]):
    """An object with its duplicates."""


def random_path(chance: random.Random, names: bool = False) -> Path:
    steps = [chance.choice(STEPS) for _ in range(chance.randint(1, 4))]
    steps = [step for before, step in zip(["", *steps], steps, strict=False) if not step == before == "**"]
    return (*steps, "~") if names and chance.random() < 0.3 else tuple(steps)


def random_value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(10 if depth < 5 else 5)
    if kind > 7:
        return [random_value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
    if kind > 4:
        return Pairs((chance.choice(NAMES), random_value(chance, depth + 1)) for _ in range(chance.randint(0, 4)))
    return [None, True, 17, 'te"xt', ""][kind]


def write(value: Any) -> str:
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(name)}:{write(inner)}" for name, inner in value) + "}"
    return "[" + ",".join(map(write, value)) + "]" if isinstance(value, list) else json.dumps(value)


def hashed(name: str) -> str:
    """As the hmac action has it; that it is right is shown in test_mask."""
    return "k1:" + hmac.new(KEYS["k1"], name.encode(), hashlib.sha256).hexdigest()[:32]


class Reference:
    """What the plan should make of a document."""

    def __init__(self, plan: RecordPlan) -> None:
        self.paths = [rule.path for rule in plan.fields]
        self.lists = [rule.paths for rule in plan.allow_lists]

    def hidden(self, value: Any, place: Place = ()) -> Any:
        if value is not None and rule_at(self.paths, place) is not None:
            return MARK
        if isinstance(value, Pairs):
            renamed = any(hides_names(path, place) for path in self.paths)
            return Pairs((hashed(name) if renamed else name, self.hidden(inner, (*place, name)))
                         for name, inner in value)
        if isinstance(value, list):
            return [self.hidden(inner, (*place, None)) for inner in value]
        listed = all(is_kept(paths, place) for paths in self.lists)
        return value if listed or value is None else MARK


def random_plan(chance: random.Random, names: bool) -> RecordPlan:
    paths = sorted({random_path(chance, names) for _ in range(chance.randint(0, 4))})
    fields = tuple(FieldRule(path, KEY if path[-1] == "~" else HIDE, f"f{at}") for at, path in enumerate(paths))
    lists = tuple(AllowList(tuple(random_path(chance) for _ in range(chance.randint(1, 3))), HIDE, f"l{at}")
                  for at in range(chance.choice((0, 0, 1, 2)) if fields else 1))
    return RecordPlan("consume", fields=fields, allow_lists=lists, count_fields=True)


def check_plans(seed: int, plans: int, values: int) -> int:
    """Plans times values documents; how many of them changed."""
    chance, changed = random.Random(seed), 0
    for _ in range(plans):
        made = random_plan(chance, names=chance.random() < 0.5)
        plan, reference = mask.Plan(mask.compile_plan(made, KEYS)), Reference(made)
        documents = [random_value(chance) for _ in range(values)]
        batch = write_batch([Record(value=write(one).encode()) for one in documents])
        got = plan.transform(batch)
        after = [record.value for record in read_batches(got.data or batch)[0].records]
        for document, value in zip(documents, after, strict=True):
            wanted = write(reference.hidden(document))
            assert json.loads(value or b"", object_pairs_hook=Pairs) == json.loads(wanted, object_pairs_hook=Pairs), (
                made, document)
            changed += value != write(document).encode()
    return changed


def test_every_value_is_hidden_that_a_path_is_about_and_no_other():
    assert check_plans(5, plans=400, values=25) > 3000


@pytest.mark.slow
def test_every_value_is_hidden_in_a_hundred_thousand_documents():
    assert check_plans(6, plans=4000, values=30) > 30_000


def test_names_beyond_those_that_are_kept_are_still_told_apart():
    """A tree keeps 512 names; behind them rules hold as before, and counts go to one name."""
    plan = mask.Plan(mask.compile_plan(RecordPlan(
        "consume", fields=(FieldRule(("**", "ssn"), HIDE, "f"), FieldRule(("*", "x", "[*]", "y"), HIDE, "g")),
        count_fields=True), {}))
    for number in range(2000):
        document = {f"n{number}": {"ssn": "1", "x": [{"y": 2, "z": {"ssn": 3}}], "w": 4}}
        got = plan.transform(write_batch([Record(value=json.dumps(document).encode())]))
        [record] = read_batches(got.data or b"")[0].records
        assert json.loads(record.value or b"") == {
            f"n{number}": {"ssn": MARK, "x": [{"y": MARK, "z": {"ssn": MARK}}], "w": 4}}
    counts = plan.take_counts()
    assert sum(counts["fields_masked"].values()) == 6000 and sum(counts["fields_emitted"].values()) == 2000
    assert counts["fields_masked"]["…"] > 4000 and counts["rules"] == {"f": 4000, "g": 2000}


def test_names_that_are_hidden_count_under_no_name():
    plan = mask.Plan(mask.compile_plan(RecordPlan(
        "consume", fields=(FieldRule(("by_mail", "~"), KEY, "f"),), count_fields=True), KEYS))
    plan.transform(write_batch([Record(value=b'{"by_mail":{"ann@example.com":{"n":1},"bob@example.com":{"n":2}},"ok":3}')]))
    counts = plan.take_counts()
    assert counts["fields_emitted"] == {"by_mail.*": 2, "ok": 1} and counts["rules"] == {"f": 2}


def short_path(chance: random.Random) -> Path:
    steps = [chance.choice(("a", "b", "[*]", "*", "**")) for _ in range(chance.randint(1, 3))]
    return tuple(step for before, step in zip(["", *steps], steps, strict=False) if not step == before == "**")


#: Deep enough for what two short paths can tell apart; no path names x.
PLACES = [place for length in range(6) for place in itertools.product(("a", "b", "x", None), repeat=length)]


def test_rules_that_meet_and_rules_that_do_not():
    chance, met = random.Random(8), 0
    for _ in range(150):
        one, other = short_path(chance), short_path(chance)
        at_one, at_other = ({place for place in PLACES if is_at(path, place)} for path in (one, other))
        seen = not at_one.isdisjoint(at_other)
        for deeper, places, above in ((other, at_other, at_one), (one, at_one, at_other)):
            seen |= "**" not in deeper and any(place[:length] in above for place in places for length in range(6))
        assert field_paths.meet(one, other) == field_paths.meet(other, one) == seen, (one, other)
        met += seen
    assert 20 < met < 140
    assert not field_paths.meet(("a", "~"), ("a", "b")) and field_paths.meet(("**", "~"), ("a", "~"))


def test_what_an_allow_list_covers():
    chance, covered = random.Random(9), 0
    for _ in range(150):
        kept, path = short_path(chance), short_path(chance)
        if field_paths.covers([kept], path):
            covered += 1
            assert all(is_kept([kept], place) for place in PLACES if is_at(path, place)), (kept, path)
    assert covered > 15
    assert not field_paths.covers([("a",)], ("b",)) and field_paths.covers([("a",)], ("a", "**"))


@pytest.mark.parametrize(("written", "steps"), [
    ("a", ("a",)), ("a.b", ("a", "b")), ("a[*].b", ("a", "[*]", "b")),
    ("[*][*]", ("[*]", "[*]")), ("**.ssn", ("**", "ssn")),
    ("a.*.b", ("a", "*", "b")), ("a.~", ("a", "~")), ("$", ()), (r"\*", ("\\*",)), (r"a\.b", ("a.b",)),
    (r"\~", ("\\~",)), (r"\\x", ("\\\\x",)), ("a.**", ("a", "**")), (r"c\[d", ("c[d",)), (r"\[\*\]", ("\\[*]",)),
])  # fmt: skip
def test_paths_are_read_and_written(written: str, steps: Path):
    assert field_paths.parse(written) == steps
    assert field_paths.parse(field_paths.write(steps)) == steps


@pytest.mark.parametrize("written", ["", "a.", ".a", "a..b", "a[0]", "a[*]b", "~.a", "a.**.**", "a[", "[*].~.b"])
def test_what_is_no_path(written: str):
    with pytest.raises(field_paths.BadPath):
        field_paths.parse(written)

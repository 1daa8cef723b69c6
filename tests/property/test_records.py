"""Random record sets through record plans: what leaves is whole, alike but for values, and holds nothing to hide."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.model.record_plan import Action
from tests.fuzz import fuzz_records
from tests.fuzz.harness import Harness
from tests.support.batches import Record, read_batches, write_batch
from tests.support.record_plans import REDACT, build_plan
from tests.support.record_sets import (
    CANARIES,
    MARK,
    check_passed,
    harm_batch,
    hiding_plan,
    loosely_unescaped,
    random_batch,
    random_document,
)

CANARY = b"canary-7f3a"
seeds = st.integers(0, 2**32)
codecs = st.integers(0, 4)
fast = settings(max_examples=100, deadline=None)
HIDING = hiding_plan()
BEFORE = ("", "[", '{"a":', '{"a":"', '"', "text ", "\ufeff")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@fast
@given(st.lists(json_values, min_size=1, max_size=4), codecs, st.sampled_from(["consume", "produce"]))
def test_what_matches_nothing_is_the_same_span(values: list[object], codec: int, direction: str) -> None:
    batch = write_batch([Record(value=json.dumps(value).encode()) for value in values], codec=codec)
    got = build_plan(direction, fields={"no such name": REDACT, "a.[*].b": REDACT}).transform(batch)
    assert (got.status, got.data, got.records) == ("same", None, len(values))


@fast
@given(json_values, st.text(), codecs)
def test_a_field_is_hidden_and_its_neighbours_say_what_they_said(value: object, secret: str, codec: int) -> None:
    document = {"before": value, "secret": secret, "list": [{"secret": value}, {"other": secret}], "after": secret}
    text = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    batch = write_batch([Record(value=text, key=b"k")], codec=codec)
    plan = build_plan(fields={"secret": Action("replace", text="#"), "list[*].secret": Action("replace", text="#")})
    got = plan.transform(batch)
    assert got.status == "replaced"
    [record] = read_batches(got.data)[0].records
    [original] = read_batches(batch)[0].records
    expected = json.loads(original.value or b"")
    expected["secret"] = "#"
    expected["list"][0]["secret"] = None if value is None else "#"
    assert json.loads(record.value or b"") == expected and record.key == b"k"


@fast
@given(seeds, st.integers(1, 4))
def test_a_masked_set_keeps_all_but_its_values(seed: int, count: int) -> None:
    chance = random.Random(seed)
    data = b"".join(random_batch(chance, False) for _ in range(count))
    got = HIDING.transform(data)
    # Only a value that is not JSON, where fields are to be hidden, is a reason; what stands before its batch is given.
    sound = [all(is_json(record.value) for record in one.records) for one in read_batches(data)]
    first = sound.index(False) if False in sound else count
    if got.status == "refused":
        assert got.error_code == 44 and not sound[0]
        return
    check_passed(data, got.data or data)
    assert first <= len(read_batches(got.data or data)) <= count


def is_json(value: bytes | None) -> bool:
    try:
        json.loads(value or b"0", strict=False)
    except ValueError:
        return False
    return True


@fast
@given(seeds, codecs)
def test_harmed_sets_never_show_the_canary(seed: int, codec: int) -> None:
    chance = random.Random(seed)
    records = [Record(value=b'{"n":%d,"secret":"%s"}' % (at, CANARY), key=b"k%d" % at) for at in range(3)]
    whole = write_batch(records, codec=codec)
    for data in (whole, whole + whole[: chance.randrange(len(whole))], harm_batch(whole, chance)):
        got = HIDING.transform(data)
        left = got.data if got.status == "replaced" else data if got.status == "same" else b""
        check_passed(data, left or b"")
        if data is not whole or not left:
            continue
        assert not any(CANARY in (record.value or b"") for one in read_batches(left) for record in one.records)


@fast
@given(seeds, st.sampled_from(CANARIES), st.sampled_from(BEFORE), st.booleans())
def test_an_entity_is_hidden_in_whatever_is_around_it(seed: int, canary: str, before: str, escaped: bool) -> None:
    chance = random.Random(seed)
    inner = json.dumps(canary)[1:-1]
    if escaped:
        at = chance.randrange(len(canary))
        inner = json.dumps(canary[:at])[1:-1] + f"\\u{ord(canary[at]):04X}" + json.dumps(canary[at + 1 :])[1:-1]
    text = before + inner + chance.choice(["", '"', '"}', "]", " text"])
    batch = write_batch([Record(value=text.encode())], codec=chance.randrange(5))
    got = hiding_plan(fields=False).transform(batch)
    assert got.status == "replaced"
    [record] = read_batches(got.data)[0].records
    after = (record.value or b"").decode()
    assert MARK in after and canary not in loosely_unescaped(after) and inner not in after


def test_the_check_itself_sees_what_was_not_hidden() -> None:
    chance = random.Random(5)
    leaking = 0
    for _ in range(200):
        batch = write_batch([Record(value=random_document(chance))])
        if HIDING.transform(batch).status == "replaced":
            with pytest.raises(AssertionError):
                check_passed(batch, batch)
            leaking += 1
    assert leaking > 50


def test_records_harness_holds_and_reaches_every_answer() -> None:
    words = Harness("records", fuzz_records.random_set, fuzz_records.change, fuzz_records.check_input).run(3, seed=7)
    for place in (0, 1):
        seen = Counter[str]()
        for word, count in words.items():
            seen[word.split()[place]] += count
        assert len(seen) == 3 and all(count > 5 for count in seen.values()), words

"""Every client, with every codec and kind of producer, over topics with a rule and without one, both ways.

Each case asserts values, offsets, keys and headers, what the broker stored, and the bytes on both sides of kproxy:
equal where no rule applies, and without what is to be hidden where one does. The whole product is slow; every
combination of any three of the five factors is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet

from tests.support.batches import Batch
from tests.support.clients import CLIENT_NAMES, Got, Record
from tests.support.codecs import NAMES
from tests.support.matrix import Case, Matrix, Written, all_cases, canary, covering, hidden, user_batches
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

#: Where the records of a transactional producer begin: two were aborted, and a marker says so.
BEGIN = {"plain": 0, "idempotent": 0, "transactional": 3}
#: A batch's fields that no rule changes: all but its length and its checksum. See protocol.md, "Record batches".
KEPT = (slice(0, 8), slice(12, 17), slice(21, 61))


def cases(reads: bool) -> list[ParameterSet]:
    quick = covering(all_cases())
    return [pytest.param(case, id=str(case), marks=[] if case in quick else [pytest.mark.slow])
            for case in all_cases() if case.reads is reads]


@pytest.fixture(scope="module")
def matrix(stage: Stage) -> Iterator[Matrix]:
    with Matrix(stage) as matrix:
        yield matrix


def seen(records: list[Got]) -> list[tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]]:
    return [(one.offset, one.key, one.value, one.headers) for one in records]


def expected(records: list[Record], sort: str, begin: int) -> list[tuple[int, bytes | None, bytes | None,
                                                                       tuple[tuple[str, bytes | None], ...]]]:
    return [(begin + n, one.key, hidden(sort, one.value), one.headers) for n, one in enumerate(records)]


def values_of(batches: list[Batch]) -> list[bytes | None]:
    return [record.value for batch in batches for record in batch.records]


def is_of_codec(batches: list[Batch], codec: str) -> bool:
    """A client may leave a batch alone that its codec would not make smaller; none of ours is."""
    return {NAMES[batch.attributes & 7] for batch in batches} == {codec}


def hides_nothing(sets: list[bytes], written: Written) -> bool:
    told = [value for value in values_of(user_batches(sets)) if value]
    return any(canary(written.topic).encode() in value for value in told)


@pytest.mark.parametrize("case", cases(reads=False))
def test_produced(matrix: Matrix, case: Case) -> None:
    sort, begin = "cards." if case.masked else "open.", BEGIN[case.kind]
    written = matrix.write(case.client, case.codec, case.kind, sort)
    assert [(one.code, one.offset) for one in written.sent] == [(0, begin + n) for n in range(len(written.records))]
    assert seen(matrix.read_direct(written.topic, 7)) == expected(written.records, sort, begin)
    front, behind = matrix.produced_front.of(written.topic), matrix.produced_behind.of(written.topic)
    assert len(front) == len(behind) >= 2
    if not case.masked:
        assert front == behind
    for came, went in zip(front, behind, strict=True):
        assert [came[part] for part in KEPT] == [went[part] for part in KEPT]
    # In its first transaction on a topic a broker may ask a client to send again what it has not verified yet.
    once = list(dict.fromkeys(behind))
    records = values_of([batch for data in once for batch in user_batches([data])])
    again = written.records[:2] if case.kind == "transactional" else []
    assert records == [hidden(sort, one.value) for one in [*again, *written.records]]


@pytest.mark.parametrize("case", cases(reads=True))
def test_consumed(matrix: Matrix, case: Case) -> None:
    """T10, T11, T34, T35: what the next client of the ring wrote, markers and aborted records among it."""
    sort, begin = "pii." if case.masked else "open.", BEGIN[case.kind]
    writer = CLIENT_NAMES[CLIENT_NAMES.index(case.client) - 1]
    written = matrix.write(writer, case.codec, case.kind, sort)
    assert seen(matrix.read_direct(written.topic, 7)) == expected(written.records, "open.", begin)
    assert seen(matrix.read(case.client, written.topic, case.kind, 7)) == expected(written.records, sort, begin)
    given, received = matrix.fetched_behind.of(written.topic), matrix.fetched_front.of(written.topic)
    came, went = user_batches(given), user_batches(received)
    assert is_of_codec(came, case.codec) and is_of_codec(went, case.codec)
    assert [(one.base_offset, one.attributes, one.last_offset_delta) for one in came] \
        == [(one.base_offset, one.attributes, one.last_offset_delta) for one in went]
    assert values_of(went) == [hidden(sort, value) for value in values_of(came)]
    assert hides_nothing(given, written)
    assert hides_nothing(received, written) is not case.masked
    if case.masked:
        assert canary(written.topic).encode() not in b"".join(received)
    else:
        assert given == received


def test_the_matrix_is_whole_and_its_choice_covers_it() -> None:
    whole, chosen = all_cases(), covering(all_cases())
    assert len(set(whole)) == 4 * 5 * 3 * 2 * 2
    triples = [{three for case in some for three in itertools.combinations(case.factors, 3)}
               for some in (whole, chosen)]
    assert triples[0] == triples[1]
    assert 60 <= len(chosen) <= 80, "client × codec × kind alone are 60"

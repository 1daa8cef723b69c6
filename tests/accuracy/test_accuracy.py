"""The gates of the detectors' accuracy; in the long run Presidio beside them."""

from __future__ import annotations

import pytest

from kproxy._ext import mask
from tests.accuracy import corpus, document, gates, score


@pytest.mark.timeout(600)
def test_every_gate_is_reached() -> None:
    """The same records at every run, so it depends on nothing but the detectors."""
    assert gates.missed(score.scored(corpus.records(24_000), score.by_kproxy())) == []


def test_random_nine_digit_ids_are_taken_for_nothing() -> None:
    assert gates.share_of_nine_digits(5_000, seed=3) <= 0.01


def test_the_corpus_holds_every_entity_in_both_forms() -> None:
    made = list(corpus.records(3_000))
    for form in (True, False):
        held = {entity for record in made if record.plain.startswith(b"{") == form for entity, _, _ in record.spans}
        assert held == set(mask.ENTITIES)
    assert sum(not record.spans for record in made) == 1_000


def test_a_detector_that_finds_nothing_or_too_much_misses_its_gate() -> None:
    made = list(corpus.records(2_000))
    blind = score.scored(made, lambda plain: [])
    assert any(line.startswith("email: recall 0.000") for line in gates.missed(blind))
    everything = score.scored(made, lambda plain: [(entity, 0, len(plain)) for entity in ("email", "us_ssn")])
    assert any(line.startswith("us_ssn: precision 0.000") for line in gates.missed(everything))


def test_the_document_has_a_row_for_each_entity_with_its_figures() -> None:
    text = document.DOCUMENT.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [
        row.name for group in document.GROUPS for row in mask.CATALOGUE if row.group == group
    ]
    for row in rows:
        precision, recall, presidio = (cell.strip() for cell in row.split("|")[-4:-1])
        assert 0.9 <= float(precision) <= 1 and 0.9 <= float(recall) <= 1 and presidio


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_presidio_on_the_same_records_finds_no_more() -> None:
    from tests.accuracy import presidio

    made = list(corpus.records(3_000))
    ours, theirs = score.scored(made, score.by_kproxy()), score.scored(made, presidio.by_presidio())
    compared = [entity for entity in presidio.NAMES.values() if theirs.right[entity]]
    assert len(compared) > 15
    assert all(
        ours.recall(entity) + ours.precision(entity) >= theirs.recall(entity) + theirs.precision(entity)
        for entity in compared
    )

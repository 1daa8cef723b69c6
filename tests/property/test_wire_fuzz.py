"""Every fuzz harness for a second or two, so that a broken one is found with the suite."""

from __future__ import annotations

import pytest

from tests.fuzz import fuzz_scram, fuzz_session, fuzz_tls, fuzz_wire, fuzz_wire_api
from tests.fuzz.harness import CORPUS, Harness, stored

HARNESSES = sorted(path.stem.removeprefix("fuzz_") for path in CORPUS.parent.glob("fuzz_*.py"))


def test_wire_harness_holds_and_reaches_both_sides() -> None:
    said = fuzz_wire.HARNESS.run(2, seed=7)
    assert said.total() > 500 and 0.1 < said["taken"] / said.total() < 0.9


@pytest.mark.parametrize(("harness", "words"), [
    (fuzz_wire_api.HARNESS, ("answer", "forward", "refused", "replace")),
    (fuzz_session.HARNESS, ("open", "login_failed", "session_expired", "illegal_sasl_state", "principal_changed")),
    (fuzz_tls.HARNESS, ("open", "tls_broken", "plaintext_on_tls", "tls_handshake_failed")),
    (fuzz_scram.HARNESS, ("proved", "refused")),
], ids=lambda one: one.name if isinstance(one, Harness) else "")
def test_a_harness_holds_and_reaches_what_it_is_for(harness: Harness, words: tuple[str, ...]) -> None:
    said = harness.run(2, seed=7)
    assert all(said[word] > 2 for word in words), said


@pytest.mark.parametrize("name", HARNESSES)
def test_every_harness_has_a_stored_corpus(name: str) -> None:
    assert len(stored(name)) > 10

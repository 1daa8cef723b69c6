"""The fuzz harnesses of the wire for two seconds each, so that a broken harness is found with the suite."""

from __future__ import annotations

from tests.fuzz import fuzz_wire, fuzz_wire_api


def test_wire_harness_holds_and_reaches_both_sides() -> None:
    said = fuzz_wire.HARNESS.run(2, seed=7)
    assert said.total() > 500 and 0.1 < said["taken"] / said.total() < 0.9


def test_api_harness_holds_and_reaches_every_treatment() -> None:
    seen = fuzz_wire_api.run(2, seed=7)
    assert all(count > 20 for count in seen.values()), seen

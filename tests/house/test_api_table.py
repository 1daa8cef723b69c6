"""No API of Kafka without a decision, and no decision without a test: the command that prints the table says so."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from kproxy._ext.apis import SERVED
from tests.api_table import ROOT, problems


@pytest.mark.timeout(400)
def test_every_row_and_every_served_version_has_a_test() -> None:
    """The command runs a suite of its own, which takes half a minute alone and minutes beside others."""
    done = subprocess.run([sys.executable, "-m", "tests.api_table", "--json"], cwd=ROOT, capture_output=True, text=True,
                          timeout=380)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert [row["key"] for row in found] == list(range(95))
    assert {row["key"] for row in found if row["served"]} == set(SERVED)
    assert all(row["treatment"] and row["tests"] for row in found)


@pytest.mark.parametrize(("row", "said"), [
    ({"name": "Fetch", "tests": [], "versions_without_test": []}, ["Fetch: no test sends it"]),
    ({"name": "Fetch", "tests": ["a"], "versions_without_test": [7]}, ["Fetch: no test sends version 7"]),
    ({"name": "Fetch", "tests": ["a"], "versions_without_test": []}, []),
])
def test_a_hole_is_told(row: dict, said: list[str]) -> None:
    assert problems([row]) == said

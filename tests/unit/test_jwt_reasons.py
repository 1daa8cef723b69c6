"""One table of reasons: the code uses no other word, uses every word, and the guide explains every word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kproxy.identity.refusals import REASONS, build_refusal

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {path: path.read_text() for path in (ROOT / "kproxy" / "identity").glob("*.py")}


def test_every_word_used_is_in_the_table_and_every_word_of_the_table_is_used():
    code = "".join(text for path, text in SOURCES.items() if path.name != "refusals.py")
    used = set(re.findall(r'build_refusal\(\s*"([a-z_]+)"', code)) | {"unknown_kid", "bad_signature"}
    used |= set(re.findall(r'KeyMissing\(.*"([a-z_]+)"\)', code))
    assert used == set(REASONS)


def test_a_word_outside_the_table_cannot_be_raised():
    with pytest.raises(KeyError):
        build_refusal("because")


def test_words_are_short_labels():
    assert all(re.fullmatch(r"[a-z_]{3,24}", word) for word in REASONS)


def test_the_guide_explains_every_reason():
    guide = (ROOT / "docs" / "identity.md").read_text()
    explained = set(re.findall(r"^\| `([a-z_]+)` \|", guide, re.MULTILINE))
    assert explained >= set(REASONS)


def test_identity_touches_no_clock_file_socket_or_environment():
    shell = "asyncio|os|io|pathlib|socket|ssl|time|datetime|random|secrets|httpx"
    forbidden = re.compile(rf"^\s*(?:import|from) (?:{shell})\b", re.MULTILINE)
    assert {path.name for path, text in SOURCES.items() if forbidden.search(text) or "open(" in text} == set()

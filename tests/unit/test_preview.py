"""``kproxy policy preview``: records before and after, by the code that records pass on the way."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from kproxy.cli import policy
from kproxy.model.record_plan import Action, FieldRule, RecordPlan
from kproxy.model.settings import Limits
from kproxy.policy.samples import Sample, build_batch, preview, read_batch
from tests.support.batches import Record, read_batches, write_batch
from tests.support.policies import EXAMPLE
from tests.unit.test_cli_check import CONFIG


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "main.yaml").write_bytes(EXAMPLE)
    (tmp_path / "mask.key").write_bytes(b"0123456789abcdef-not-to-be-shown")
    (tmp_path / "mask.key").chmod(0o600)
    (tmp_path / "kproxy.yaml").write_text(CONFIG.replace("MODE", "observe"))
    return tmp_path


def run(folder: Path, *arguments: str, lines: str) -> tuple[int, str]:
    app = Typer()
    policy.register(app)
    (folder / "sample").write_text(lines)
    given = ["policy", "preview", "--config", str(folder / "kproxy.yaml"), "--sample", str(folder / "sample")]
    result = CliRunner().invoke(app, [*given, *arguments])
    return result.exit_code, result.output + (str(result.exception) if result.exit_code == 1 else "")


ORDER = '{"id":7,"user":{"email":"ann@example.com"},"card":"4111 1111 1111 1111"}'


def test_a_reader_sees_masked_what_one_in_an_excepted_role_sees(folder: Path):
    code, output = run(folder, "--topic", "orders", "--role", "fraud-scoring", lines=f'{ORDER}\n{{"id":8}}\n')
    assert code == 0, output
    lines = output.splitlines()
    assert lines[0] == "1: changed by cards, contact"
    assert lines[1] == f"   - {ORDER}"
    assert lines[2].startswith('   + {"id":7,"user":{"email":"k1:')
    assert lines[2].endswith('"card":"***************1111"}')
    assert lines[3:] == ["2: same", '     {"id":8}']
    _, spared = run(folder, "--topic", "orders", "--role", "privacy-officer", lines=ORDER)
    assert spared.splitlines()[0] == "1: changed by cards" and "ann@example.com" in spared.splitlines()[2]
    assert "not-to-be-shown" not in output


def test_what_would_be_refused_is_told_with_the_words_for_the_client(folder: Path):
    code, output = run(folder, "--topic", "prompts.a", "--direction", "produce",
                       lines="key AKIAIOSFODNN7EXAMPLE\nhello\n")
    assert code == 0
    assert output.splitlines()[0] == "1: refused by secrets: Secrets do not belong in prompts."
    assert output.splitlines()[2] == "2: same"


def test_records_with_keys_and_headers_and_the_whole_as_json(folder: Path):
    line = json.dumps({"key": "k", "value": {"user": {"email": "a@example.com"}},
                       "headers": {"x": "of 4111111111111111", "n": None}})
    code, output = run(folder, "--topic", "orders", "--form", "records", "--json", lines=line)
    found = json.loads(output)
    assert code == 0 and found["outcome"] == "changed" and found["rules"] == {"contact": 1, "cards": 1}
    assert found["after"]["key"] == "k" and found["after"]["headers"] == [["x", "of ************1111"], ["n", None]]
    assert found["entities"] == {"credit_card": 1} and found["fields"] == {"user.email": 1}


def test_a_value_that_cannot_be_read_is_refused_and_said(folder: Path):
    _, output = run(folder, "--topic", "orders", "--form", "whole", lines="no json\n")
    assert output.splitlines()[0] == (
        "1: refused, a value that cannot be read: kproxy: the value is not JSON, and this topic's fields are protected")


def test_a_terminal_is_given_nothing_that_moves_its_cursor(folder: Path):
    _, output = run(folder, "--topic", "other", lines="\x1b[2Jhello\n")
    assert output.splitlines()[1] == r"     \x1b[2Jhello"


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["--role", "nobody"], 2, "no role 'nobody' in the policy; known:"),
    (["--form", "records"], 1, "sample:1: Input data was truncated"),
    (["--sample", "/nowhere/at/all"], 1, "/nowhere/at/all cannot be read: No such file or directory"),
])
def test_what_is_wrong_is_said(folder: Path, arguments: list[str], code: int, words: str):
    got, output = run(folder, "--topic", "orders", *arguments, lines="{")
    assert got == code
    assert words in " ".join(output.replace("│", " ").split())


def test_batches_are_those_of_kafka():
    sample = Sample(b"v" * 300, b"k", (("h", b""), ("n", None)))
    record = Record(value=sample.value, key=b"k", headers=[("h", b""), ("n", None)])
    assert build_batch(sample) == write_batch([record], base_timestamp=0, max_timestamp=0)
    assert read_batch(build_batch(sample)) == sample
    assert read_batches(build_batch(Sample(None)))[0].records[0].value is None
    for size in (0, 63, 64, 8191, 8192, 100_000):
        sample = Sample(os.urandom(size))
        assert read_batch(build_batch(sample)) == sample


def test_without_a_plan_nothing_changes():
    [found] = preview(None, [Sample(b"x")], {}, Limits())
    assert (found.outcome, found.after) == ("same", Sample(b"x"))
    plan = RecordPlan("consume", fields=(FieldRule(("a",), Action("redact"), "r"),), on_unknown="pass")
    [unknown] = preview(plan, [Sample(b"x")], {}, Limits())
    assert (unknown.outcome, unknown.unknown) == ("same", True)

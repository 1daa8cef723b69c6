"""The committed table of facts is what the generator makes of the jar, and it refuses what it has no words for."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.kafka_libs import KafkaMissing, newest_client
from tests.support.scripts import load_script


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return load_script("_ext/schema/generate.py")


def test_the_committed_files_are_the_generators(generator: ModuleType) -> None:
    try:
        jar = newest_client()
    except KafkaMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    made = generator.generate(jar)
    assert [path.name for path in made] == ["facts.pxi", "fields.pxd"]
    for path, text in made.items():
        assert path.read_text() == text, f"{path.name}: run _ext/schema/generate.py with {jar.name}"


def jar_of(folder: Path, **changes: Any) -> Path:
    """A jar with one request in it: a heartbeat's."""
    message = {"apiKey": 12, "type": "request", "name": "HeartbeatRequest", "validVersions": "0-4",
               "flexibleVersions": "4+", "fields": [{"name": "GroupId", "type": "string", "versions": "0+"}], **changes}
    path = folder / "kafka-clients-0.jar"
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("common/message/HeartbeatRequest.json", "// a licence\n" + json.dumps(message))
    return path


def test_a_small_jar(generator: ModuleType, tmp_path: Path) -> None:
    facts, fields = generator.generate(jar_of(tmp_path)).values()
    assert facts.splitlines()[2:4] == ["12 request HeartbeatRequest 0-4 4+", " group_id string 0+ !"]
    assert fields.splitlines()[-1] == "    F_GROUP_ID = 1"


def test_a_common_struct_stands_where_it_is_named(generator: ModuleType, tmp_path: Path) -> None:
    """As in AddPartitionsToTxn, which names its topics in two places; a default may be a JSON boolean."""
    common = {"commonStructs": [
        {"name": "Topic", "versions": "0+", "fields": [{"name": "Parts", "type": "[]Part", "versions": "0+"}]},
        {"name": "Part", "versions": "0+", "fields": [{"name": "Last", "type": "bool", "versions": "0+",
                                                       "default": True}]}]}
    fields = [{"name": "GroupId", "type": "string", "versions": "0+"},
              {"name": "Topics", "type": "[]Topic", "versions": "1+"}]
    facts, _ = generator.generate(jar_of(tmp_path, fields=fields, **common)).values()
    assert facts.splitlines()[4:7] == [" topics []struct 1+", "  parts []struct 0+", "   last bool 0+ default=true"]
    common["commonStructs"][1]["fields"][0]["type"] = "[]Topic"
    with pytest.raises(SystemExit, match=r"HeartbeatRequest\.Last: Topic holds itself"):
        generator.generate(jar_of(tmp_path, fields=fields, **common))


def test_what_the_table_has_no_words_for_is_refused(generator: ModuleType, tmp_path: Path) -> None:
    field = {"name": "X", "type": "string", "versions": "0+", "flexibleVersions": "none"}
    with pytest.raises(SystemExit, match="not supported"):
        generator.generate(jar_of(tmp_path, fields=[{"name": "GroupId", "type": "string", "versions": "0+"}, field]))


def test_a_field_of_interest_that_went_away_is_told(generator: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="HeartbeatRequest has no group_id"):
        generator.generate(jar_of(tmp_path, fields=[{"name": "Group", "type": "string", "versions": "0+"}]))


@pytest.mark.parametrize(("name", "snake"), [("GroupId", "group_id"), ("timeoutMs", "timeout_ms"),
                                             ("Enable2Pc", "enable2_pc"), ("ACLs", "acls")])
def test_names_in_snake_case(generator: ModuleType, name: str, snake: str) -> None:
    assert generator.snake_case(name) == snake

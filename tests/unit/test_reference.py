"""The tables of keys in docs/ are made of structs; here they are held against what the readers take and refuse."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kproxy.config import examine_config
from kproxy.errors import PolicyError
from kproxy.policy import load
from tests.support.scripts import load_script

NOT_YET = {"admin": {"tls"}, "metrics": {"topics"}}
#: Known to a guard, which always does the same: told under the mask's row.
SHARED = {"records": {"action"}}

SMALL: dict[str, Any] = {
    "node": {}, "clusters": {"c": {"bootstrap": ["h:1"], "tls": {}, "credentials": [{"mechanism": "NONE"}],
                                         "schema_registry": {"url": "https://registry.example.com"}}},
    "listeners": {"l": {"cluster": "c", "bind": "127.0.0.1:9092", "authenticate": ["PLAIN"],
                        "advertise": {"ports": {"host": "h", "brokers": "0-3", "first": 9100}}}},
    "identity": {"issuers": {"i": {"issuer": "https://idp.example.com", "audience": ["k"]}}},
    "policy": {"path": "p"}, "audit": {}, "admin": {}, "metrics": {}, "limits": {},
}
#: Place in the document → path in SMALL.
PATHS: dict[str, tuple[str | int, ...]] = {
    "node": ("node",), "clusters": ("clusters", "c"), "clusters.tls": ("clusters", "c", "tls"),
    "clusters.schema_registry": ("clusters", "c", "schema_registry"),
    "clusters.credentials": ("clusters", "c", "credentials", 0), "listeners": ("listeners", "l"),
    "listeners.advertise.ports": ("listeners", "l", "advertise", "ports"),
    "listeners.advertise.sni": ("listeners", "l", "advertise", "sni"), "listeners.tls": ("listeners", "l", "tls"),
    "listeners.proxy_protocol": ("listeners", "l", "proxy_protocol"),
    "identity.issuers": ("identity", "issuers", "i"), "policy": ("policy",), "audit": ("audit",), "admin": ("admin",),
    "metrics": ("metrics",), "limits": ("limits",),
}


REFERENCE = load_script("scripts/reference.py")
CONFIGURATION = REFERENCE.DOCUMENTS["docs/configuration.md"]
POLICY = REFERENCE.DOCUMENTS["docs/policy.md"]
ROWS = [(place, row) for place, structs in CONFIGURATION.items() for row in REFERENCE.rows(place, structs)]
#: A listener's TLS begins with a certificate; its one default is held by test_config.
TYPED = [(place, row) for place, row in ROWS if row.is_typed and place != "listeners.tls"]


def written(place: str, key: str, value: str) -> bytes:
    """SMALL with one key more, its value as a person would type it."""
    config = copy.deepcopy(SMALL)
    here: Any = config
    for step in PATHS[place]:
        here = here.setdefault(step, {}) if isinstance(here, dict) else here[step]
    here[key] = "@@"
    return json.dumps(config).replace('"@@"', value).encode()


def examine(source: bytes, folder: Path) -> tuple[Any, list[str]]:
    config, problems = examine_config(source, "f", folder, {})
    return config, [str(problem) for problem in problems]


def known(said: list[str]) -> set[str]:
    lists = [found[1] for line in said if (found := re.search(r"unknown key 'zz'; known here: (.*)", line))]
    assert len(lists) == 1, said
    return set(lists[0].split(", "))


@pytest.mark.parametrize("place", PATHS)
def test_the_reader_knows_the_keys_that_are_told_and_no_others(place: str, tmp_path: Path) -> None:
    told = {row.key for row in REFERENCE.rows(place, CONFIGURATION[place])}
    assert known(examine(written(place, "zz", "1"), tmp_path)[1]) == told | NOT_YET.get(place, set())


def test_every_place_is_held_against_the_reader() -> None:
    assert set(PATHS) == set(CONFIGURATION)


@pytest.mark.parametrize(("place", "row"), TYPED, ids=[f"{place}-{row.key}" for place, row in TYPED])
def test_a_default_that_is_typed_changes_nothing(place: str, row: Any, tmp_path: Path) -> None:
    value = f"[{row.default}]" if row.kind.startswith("list") else row.default.strip("`")
    source = written(place, row.key, f"'{value}'" if "{" in value else value)
    plain = json.dumps(SMALL).encode()
    assert examine(source, tmp_path) == examine(plain, tmp_path)
    assert examine(plain, tmp_path)[1] == []


def amount(told: str) -> int:
    found = re.fullmatch(r"([\d,]+)(B|GiB)?", told)
    assert found, told
    return int(found[1].replace(",", "")) * (1 << 30 if found[2] == "GiB" else 1)


BOUNDED = [(place, row) for place, row in ROWS if re.search(r", \S+ (to|or more)", row.kind)]


@pytest.mark.parametrize(("place", "row"), BOUNDED, ids=[f"{place}-{row.key}" for place, row in BOUNDED])
def test_the_bounds_that_are_told_are_kept(place: str, row: Any, tmp_path: Path) -> None:
    words = row.kind.rsplit(", ", 1)[-1].split()
    least, most = amount(words[0]), amount(words[2]) if words[1] == "to" else None
    refused = [least - 1] + ([most + 1] if most is not None else [])
    for number in refused:
        said = examine(written(place, row.key, str(number)), tmp_path)[1]
        assert any(("between" in line or "less than" in line) and str(number) in line for line in said), (number, said)
    for number in [least] + ([most] if most is not None else []):
        said = examine(written(place, row.key, str(number)), tmp_path)[1]
        assert not any("between" in line for line in said), (number, said)


@pytest.mark.parametrize(("place", "sources"), [
    ("topics", ["topics: [{zz: 1}]"]), ("roles", ["roles: {r: {zz: 1}}"]),
    ("rules", ["roles: {r: {members: {groups: [g]}, allow: [{zz: 1}]}}", "forbid: [{zz: 1}]"]),
    ("records", ["masks: [{zz: 1}]", "guards: [{zz: 1}]"]), ("approvals", ["approvals: [{zz: 1}]"]),
])
def test_the_policys_reader_knows_the_keys_that_are_told(place: str, sources: list[str]) -> None:
    for source, struct in zip(sources, POLICY[place].values(), strict=True):
        with pytest.raises(PolicyError) as caught:
            load({"f": source.encode()})
        told = {row.key for row in REFERENCE.rows_of(struct, place)}
        assert known([str(problem) for problem in caught.value.problems]) == told | SHARED.get(place, set())


SMALL_POLICY: dict[str, Any] = {
    "forbid": [{"name": "f", "operations": ["all"], "topics": ["t"]}],
    "masks": [{"name": "m", "topics": ["t"], "action": "redact", "detect": ["email"]}],
    "guards": [{"name": "g", "topics": ["t"], "detect": ["email"]}],
    "approvals": [{"name": "a", "operations": ["write"], "topics": ["t"], "approvers": {"role": "r"}}],
    "roles": {"r": {"members": {"groups": ["g"]}}},
}
TOLD_OF_RULES = [(section, row) for section, place, name in (
    ("forbid", "rules", "a forbid"), ("masks", "records", "a mask"), ("guards", "records", "a guard"),
    ("approvals", "approvals", "")) for row in REFERENCE.rows_of(POLICY[place][name], place)
    if row.default not in ("none", "always", REFERENCE.REQUIRED) or row.key == "reason"]


@pytest.mark.parametrize(("section", "row"), TOLD_OF_RULES, ids=[f"{one}-{row.key}" for one, row in TOLD_OF_RULES])
def test_a_rules_default_that_is_typed_changes_nothing(section: str, row: Any) -> None:
    rules = copy.deepcopy(SMALL_POLICY)
    rules[section][0][row.key] = "@@"
    value = f"[{row.default}]" if row.kind.startswith("list") else row.default
    typed = load({"f": json.dumps(rules).replace('"@@"', value).encode()})
    assert msgspec.structs.replace(typed, version="") == msgspec.structs.replace(
        load({"f": json.dumps(SMALL_POLICY).encode()}), version="")


def test_a_field_that_nobody_explains_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REFERENCE, "field_texts", lambda struct: {})
    with pytest.raises(SystemExit, match="node: no text says what these mean: name, workers"):
        REFERENCE.rows("node", CONFIGURATION["node"])

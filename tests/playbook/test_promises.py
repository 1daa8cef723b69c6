"""What a client is told of features, and whom it must mean: KIP-584, KIP-890, KIP-1242."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy._ext.login import FEATURES, Promise, advertised, levels_shown
from tests.support.frames import read_response, request
from tests.support.playbook import Rules, Stage

NEWEST = advertised({key: (0, 99) for key in range(95)})
LEVELS = {"transaction.version": 2, "group.version": 1, "metadata.version": 29, "kraft.version": 1}


def ask(promise: Promise, version: int, **more: Any) -> dict[str, Any]:
    stage = Stage(Rules())
    stage.session.resume_versions(promise)
    software = {"client_software_name": "x", "client_software_version": "1"}
    [(side, answer)] = stage.client(request(18, version, 1, software | more))
    assert side == "client"
    return read_response(18, version, answer)[1]


@pytest.mark.parametrize("version", [3, 4, 5])
def test_features_are_told_in_the_brokers_epoch(version: int):
    body = ask(Promise(NEWEST, LEVELS, 7), version)
    assert body["finalized_features_epoch"] == 7
    levels = {(one["name"], one["min_version_level"], one["max_version_level"]) for one in body["finalized_features"]}
    assert levels == {("transaction.version", 2, 2), ("group.version", 1, 1)}
    # One whose lowest level is 0 is refused by clients of version 3.
    assert {(one["name"], one["min_version"], one["max_version"]) for one in body.get("supported_features", ())} == (
        set() if version == 3 else {("transaction.version", 0, 2), ("group.version", 0, 1)})


def test_without_features_nothing_is_told():
    body = ask(Promise(NEWEST, {"metadata.version": 29}, 7), 4)
    assert body["api_keys"] and not any("features" in name for name in body)


@pytest.mark.parametrize("capped", [{0: (3, 11)}, {26: (0, 4)}, {28: (0, 4)}])
def test_a_level_goes_with_the_least_of_what_it_needs(capped: dict[int, tuple[int, int]]):
    """T41."""
    shown = levels_shown(LEVELS, NEWEST | capped)
    assert shown == {"transaction.version": 1, "group.version": 1}


def test_a_feature_goes_where_an_api_of_it_is_not_served():
    ranges = {key: value for key, value in NEWEST.items() if key != 69}
    assert levels_shown(LEVELS, ranges) == {"transaction.version": 2}


def test_a_level_is_never_above_the_brokers():
    assert levels_shown({"transaction.version": 1}, NEWEST) == {"transaction.version": 1}
    assert levels_shown({"transaction.version": 99}, NEWEST) == {"transaction.version": max(
        FEATURES["transaction.version"])}
    assert levels_shown({"transaction.version": 0, "unknown.version": 3}, NEWEST) == {}


AT_ONE = Promise(NEWEST, cluster_id="right", node=1)
AT_BOOTSTRAP = Promise(NEWEST, cluster_id="right")


@pytest.mark.parametrize(("promise", "cluster_id", "node", "code"), [
    (AT_ONE, "right", 1, 0), (AT_ONE, None, -1, 0),
    (AT_ONE, "wrong", 1, 129), (AT_ONE, "right", 2, 129),
    (AT_ONE, "right", -1, 42), (AT_ONE, None, 1, 42),
    (AT_BOOTSTRAP, None, -1, 0), (AT_BOOTSTRAP, "right", 1, 129), (AT_BOOTSTRAP, "right", -1, 42),
    (Promise(NEWEST, node=1), "any", 1, 0), (Promise(NEWEST, node=1), "any", 2, 129),
])
def test_a_client_that_means_somebody_else_is_told_to_begin_again(promise: Promise, cluster_id: str | None, node: int,
                                                                  code: int):
    """T40."""
    body = ask(promise, 5, cluster_id=cluster_id, node_id=node)
    assert body["error_code"] == code
    assert bool(body["api_keys"]) == (code == 0)

"""The pieces of the demo by themselves: its policy, its broker, and a narration that cannot hide a failure."""

from __future__ import annotations

import importlib.resources
import io
from pathlib import Path

import pytest
from rich.console import Console

from kproxy import policy
from kproxy.config import load_config
from kproxy.demo.clients import read
from kproxy.demo.embedded import EmbeddedBroker, kafka, silent
from kproxy.demo.narration import Narrator, StepFailed
from kproxy.demo.node import Node
from kproxy.demo.stage import PEOPLE
from kproxy.errors import KproxyError


@pytest.fixture
def told() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def narrator(told: io.StringIO) -> Narrator:
    return Narrator(Console(file=told, width=100))


def test_policy_has_no_problem_and_knows_everybody() -> None:
    text = importlib.resources.files("kproxy.demo").joinpath("policy.yaml").read_bytes()
    loaded = policy.load({"policy.yaml": text})
    assert policy.check(loaded, None) == []
    groups = {group for role in loaded.roles for group in role.groups}
    assert {group for person in PEOPLE.values() for group in person["groups"]} - groups == {"audit"}


def test_configuration_of_the_node_is_accepted(tmp_path: Path) -> None:
    node = Node(tmp_path, ("127.0.0.1", 9), "http://127.0.0.1:9")
    config = load_config(node.config)
    assert config.node.workers == 2
    assert {name: listener.mode for name, listener in config.listeners.items()} == {
        "public": "enforce", "trial": "observe"}
    assert (tmp_path / "mask.key").stat().st_mode & 0o777 == 0o600


def test_embedded_broker_keeps_what_is_produced() -> None:
    with EmbeddedBroker(["one", "two"]) as broker:
        address = {"bootstrap.servers": f"{broker.bootstrap[0]}:{broker.bootstrap[1]}"}
        producer = kafka().Producer(address, logger=silent)
        assert set(producer.list_topics(timeout=10).topics) == {"one", "two"}
        producer.produce("one", b'{"n": 1}', partition=0)
        assert producer.flush(10) == 0
        assert read(address, "one", 1) == ([{"n": 1}], 0)


def test_what_was_seen_is_kept_and_shown(narrator: Narrator, told: io.StringIO) -> None:
    narrator.step("A step", "what it is about")
    narrator.expect(True, "it worked")
    assert [(step["step"], step["seen"]) for step in narrator.steps] == [("A step", ["it worked"])]
    assert "✓ it worked" in told.getvalue()


def test_what_was_not_seen_ends_the_story(narrator: Narrator, told: io.StringIO) -> None:
    narrator.step("A step", "what it is about")
    with pytest.raises(StepFailed, match="step 1: not seen: it worked; instead: 29"):
        narrator.expect(False, "it worked", 29)
    assert "✗ it worked" in told.getvalue()
    assert narrator.steps[0]["seen"] == []


def test_a_node_that_ends_by_itself_is_told_with_its_log(tmp_path: Path) -> None:
    node = Node(tmp_path, ("127.0.0.1", 9), "http://127.0.0.1:9")
    node.config.write_text("nonsense: true\n")
    with pytest.raises(KproxyError, match=r"ended by itself(.|\n)*nonsense"), node:
        pass

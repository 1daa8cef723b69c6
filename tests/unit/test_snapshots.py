"""The snapshot a worker decides by: read whole, replaced at once; what two of them share is not made twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from kproxy import policy
from kproxy.dataplane.in_force import SnapshotFile, SnapshotInForce
from kproxy.dataplane.snapshot_reading import PIECE, free_in_pieces, list_parts
from kproxy.model.approval import Grant
from kproxy.model.settings import Limits
from kproxy.model.snapshot import Snapshot
from tests.support.tokens import NOW, issuer_keys

POLICY = """
topics:
  - {match: orders, labels: {class: pii}}
roles:
  readers:
    members: {groups: [readers]}
    allow:
      - {operations: [read], topics: [orders, "plain.*"]}
      - {operations: [describe], groups: ["*"], name: see-groups}
  writers:
    members: '"corp:w1" == principal.name'
    allow:
      - {operations: [write], topics: ["scores.*"], when: 'topic.labels.class != "pii"'}
forbid:
  - {name: never, operations: [delete], topics: [orders], message: "No."}
masks:
  - {name: contact, topics: [orders], directions: [consume], fields: [user.email], action: redact}
guards:
  - {name: cards, topics: [orders], detect: [credit_card]}
approvals:
  - {name: new-model, operations: [write], topics: ["scores.*"], approvers: {role: readers, quorum: 1}}
"""


class Place:
    """A snapshot file and what is in force of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "snapshot.msgpack"
        self.epochs: list[int] = []
        self.file = SnapshotFile(self.path, self.build, lambda one: self.epochs.append(one.snapshot.epoch))

    def build(self, snapshot: Snapshot) -> SnapshotInForce:
        return SnapshotInForce(snapshot, policy.compile(snapshot.policy), SimpleNamespace(), Limits())

    def publish(self, epoch: int, source: str = POLICY, grants: tuple[Grant, ...] = ()) -> Snapshot:
        loaded = policy.load({"policy.yaml": source.encode()})
        snapshot = Snapshot(epoch, NOW, loaded, loaded.version, {"public": "observe"}, (issuer_keys(),), grants,
                            {"k1": b"secret"})
        self.path.write_bytes(msgspec.msgpack.encode(snapshot))
        return snapshot

    @property
    def in_force(self) -> Snapshot:
        assert self.file.in_force is not None
        return self.file.in_force.snapshot


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    one = Place(tmp_path)
    one.publish(1)
    assert await one.file.load() == ""
    return one


@pytest.mark.parametrize("damage", [b"", b"\xc1 not msgpack", b"\x81\xa5epoch\x05"])
async def test_a_bad_snapshot_leaves_the_old_one_in_force(place: Place, damage: bytes) -> None:
    place.path.write_bytes(damage)
    assert await place.file.load() != ""
    assert place.in_force.epoch == 1 and place.epochs == [1]


async def test_the_same_epoch_is_not_compiled_again_and_loads_do_not_overlap(place: Place) -> None:
    place.publish(2)
    assert await asyncio.gather(*(place.file.load() for _ in range(10))) == [""] * 10
    assert place.epochs == [1, 2]


async def test_a_snapshot_is_read_rule_by_rule_as_it_was_written(place: Place) -> None:
    written = place.publish(2, grants=(Grant("g", "new-model", "corp:w1", "write", "topic", "t", "m", NOW, NOW + 60),))
    assert await place.file.load() == ""
    assert place.in_force == written
    assert all((written.policy.topics, written.policy.allows(), *(getattr(written.policy, kind) for kind in (
        "forbid", "masks", "guards", "approvals")))), "every kind of piece is there"


async def test_new_grants_leave_the_policy_the_very_same(place: Place) -> None:
    before = place.in_force.policy
    place.publish(2, grants=(Grant("g", "new-model", "corp:w1", "write", "topic", "t", "m", NOW, NOW + 60),))
    assert await place.file.load() == ""
    assert place.in_force.policy is before
    assert [grant.id for grant in place.in_force.grants] == ["g"]
    place.publish(3, POLICY + "\n# changed\n")
    assert await place.file.load() == ""
    assert place.in_force.policy is not before


@pytest.mark.parametrize("at", [("roles", 0, "allow", 0, "name"), ("topics", 0, "match"), ("masks", 0, "topics")])
async def test_one_bad_rule_spoils_a_snapshot(place: Place, at: tuple[Any, ...]) -> None:
    place.publish(2)
    snapshot = msgspec.msgpack.decode(place.path.read_bytes())
    inner = snapshot["policy"]
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = 5
    place.path.write_bytes(msgspec.msgpack.encode(snapshot))
    assert "got `int`" in await place.file.load()
    assert place.in_force.epoch == 1


async def test_no_file_yet_is_no_error_and_a_lost_one_is(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert await place.file.load() == "" and place.file.in_force is None
    place.publish(1)
    await place.file.load()
    place.path.unlink()
    assert await place.file.load() == "the snapshot file is gone" and place.in_force.epoch == 1


def test_what_is_freed_in_pieces_leaves_what_others_hold() -> None:
    found = policy.load({"policy.yaml": POLICY.encode()})
    parts = list_parts(found) * PIECE
    assert len(parts) == 8 * PIECE
    free_in_pieces(parts)
    assert parts == []
    assert [rule.name for rule in found.allows()] == ["readers.allow[0]", "see-groups", "writers.allow[0]"]

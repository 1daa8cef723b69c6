"""Changed files come into force whole or not at all, and a refusal is loud everywhere."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from kproxy.config import load_config
from kproxy.control.process import find_first
from kproxy.errors import PolicyError
from kproxy.model.snapshot import Snapshot
from tests.support.control_rig import POLICY, ControlRig, ScriptedWorker, running, until

OTHER = POLICY.replace("features.a", "features.b")
BAD = POLICY.replace("members: {groups: [fraud-scoring]}", "members: 'principal.grups'")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[ControlRig]:
    async with running(ControlRig(tmp_path)) as one:
        yield one


def replace(path: Path, text: str) -> None:
    """As an editor does it: beside, then renamed."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)


async def test_a_changed_policy_file_comes_into_force_by_itself(rig: ControlRig) -> None:
    async with ScriptedWorker(rig) as worker:
        first = worker.snapshots[-1].policy_version
        for text in (OTHER, POLICY):
            replace(rig.policy, text)
            await until(lambda before=worker.snapshots[-1].policy_version:
                        worker.snapshots[-1].policy_version != before)
        assert worker.snapshots[-1].policy_version == first
        assert worker.epochs == sorted(set(worker.epochs))
        loaded = await until(lambda: (found := rig.audit("policy_loaded"))[2:] and found)
        assert [one["policy_version"] for one in loaded] == [first, loaded[1]["policy_version"], first]


async def test_a_bad_policy_leaves_the_old_one_in_force_loudly(rig: ControlRig) -> None:
    async with ScriptedWorker(rig) as worker:
        await until(lambda: worker.snapshots[-1].issuer_keys)
        before, epoch = rig.node.reloader.loaded.policy.version, rig.node.publisher.epoch
        rig.policy.write_text(BAD)
        assert await rig.node.reloader.reload() is False
        assert (rig.node.reloader.loaded.policy.version, rig.node.publisher.epoch) == (before, epoch)
        assert rig.snapshot().policy_version == before
        assert await rig.metric("kproxy_config_last_reload_successful") == 0
        assert rig.node.not_ready() == "", "traffic goes on under the old policy"
    refused = (await until(lambda: rig.audit("policy_refused")))[0]
    assert refused["policy_version"] == before
    (place,) = refused["details"]["places"]
    assert place.startswith(f"{rig.policy}:5: roles.fraud-scoring.members")
    assert '"event": "policy_refused"' in rig.log.getvalue()
    _, told = await rig.call("GET", "/v1/status", over="socket")
    assert told["last_reload"]["good"] is False and told["last_reload"]["problems"][0].startswith(str(rig.policy))
    rig.policy.write_text(OTHER)
    assert await rig.node.reloader.reload() is True
    assert await rig.metric("kproxy_config_last_reload_successful") == 1
    assert (await rig.call("GET", "/v1/status", over="socket"))[1]["last_reload"]["problems"] == []


async def test_a_broken_configuration_is_refused_the_same_way(rig: ControlRig) -> None:
    before = rig.node.reloader.loaded
    rig.config.write_text(rig.config.read_text() + "\nunknown: 1\n")
    assert await rig.node.reloader.reload() is False
    assert rig.node.reloader.loaded is before
    rig.config.unlink()
    assert await rig.node.reloader.reload() is False
    assert rig.node.reloader.outcome.problems[0].endswith("cannot be read: No such file or directory")


async def test_unchanged_files_are_not_made_ready_again(rig: ControlRig) -> None:
    replace(rig.policy, OTHER)
    assert await rig.node.reloader.reload() is True
    before, epoch = rig.node.reloader.loaded, rig.node.publisher.epoch
    assert await rig.node.reloader.reload() is True
    again = rig.node.reloader.loaded
    assert again is not before and again.decider is before.decider and again.policy is before.policy
    assert rig.node.publisher.epoch == epoch
    replace(rig.policy, POLICY)
    assert await rig.node.reloader.reload() is True
    assert rig.node.reloader.loaded.policy.version != before.policy.version


async def test_a_bad_policy_is_told_again_each_time_it_is_read(rig: ControlRig) -> None:
    rig.policy.write_text(BAD)
    for _ in range(2):
        assert await rig.node.reloader.reload() is False
        assert len(rig.node.reloader.outcome.problems) == 1


async def test_what_no_reload_takes_over_is_named_and_left_as_it_runs(rig: ControlRig) -> None:
    rig.content["policy"]["mode"] = "observe"
    rig.content["limits"] = {"max.connections": 7}
    rig.content["admin"]["roles"]["viewer"] = {"groups": ["everybody"]}
    rig.content["listeners"]["public"]["advertise"]["ports"]["brokers"] = "1-2"
    rig.write_config()
    async with ScriptedWorker(rig) as worker:
        assert await rig.node.reloader.reload() is True
        await until(lambda: worker.snapshots[-1].modes == {"public": "observe"})
    running_config = rig.node.reloader.loaded.config
    assert rig.node.reloader.outcome.restart_needed == ("limits", "listeners")
    assert (running_config.limits.max_connections, running_config.mode) == (20000, "observe")
    assert running_config.listeners["public"].advertise.last_broker == 1
    assert (await rig.call("GET", "/v1/status", rig.token("bob", "everybody")))[0] == 200
    version = running_config and rig.node.reloader.loaded.policy.version
    assert await rig.metric(f'kproxy_policy_info{{mode="observe",version="{version}"}}') == 1


async def test_a_restart_with_a_bad_policy_goes_on_with_what_was_in_force(tmp_path: Path) -> None:
    rig = ControlRig(tmp_path)
    async with running(rig), ScriptedWorker(rig) as worker:
        await worker.ask_approval()
        before = rig.node.reloader.loaded.policy.version
        await rig.call("POST", "/v1/requests/req-0001/approve", rig.token("rita", "ml-risk"), {})
    rig.policy.write_text(BAD)
    async with running(rig), ScriptedWorker(rig) as worker:
        assert worker.snapshots[-1].policy_version == before
        assert [grant.id for grant in worker.snapshots[-1].grants] == ["grant-0001"]
        assert await rig.metric("kproxy_config_last_reload_successful") == 0
        await until(lambda: rig.audit("policy_refused"))


def test_a_first_start_with_a_bad_policy_does_not_begin(tmp_path: Path) -> None:
    rig = ControlRig(tmp_path, BAD)
    with pytest.raises(PolicyError, match=r"policy\.yaml:5: "):
        find_first(rig.config, load_config(rig.config))


def test_issuers_that_are_unsafe_to_trust_do_not_begin(tmp_path: Path) -> None:
    rig = ControlRig(tmp_path)
    rig.content["identity"]["issuers"]["corp"]["groups"] = "realm..roles"
    rig.write_config()
    with pytest.raises(PolicyError, match=r"identity\.issuers\.corp\.groups"):
        find_first(rig.config, load_config(rig.config))


def test_after_a_death_the_files_count_and_what_is_bound_stays(tmp_path: Path) -> None:
    rig = ControlRig(tmp_path)
    running_by = load_config(rig.config)
    loaded = find_first(rig.config, running_by).loaded
    left = Snapshot(7, 0.0, loaded.policy, loaded.policy.version, {"public": "observe"}, masking_keys={"k": b"key"})
    rig.runtime.mkdir(exist_ok=True)
    (rig.runtime / "snapshot.msgpack").write_bytes(msgspec.msgpack.encode(left))
    rig.policy.write_text(OTHER)
    rig.content["limits"] = {"max.connections": 5}
    rig.write_config()
    first = find_first(rig.config, running_by)
    assert first.loaded.policy.version != loaded.policy.version and first.problems == ()
    assert first.restart_needed == ("limits",) and first.loaded.config.limits == running_by.limits

    rig.config.write_text("nonsense: [")
    kept = find_first(rig.config, running_by)
    assert kept.loaded.policy.version == loaded.policy.version and len(kept.problems) == 1
    assert kept.loaded.modes() == {"public": "observe"}, "what its predecessor had taken over stays too"
    assert kept.loaded.config.keys == {"k": b"key"}

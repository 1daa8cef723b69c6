"""Safeguards as they are written: what is read, what is refused and why, and to whom they apply."""

from __future__ import annotations

import msgspec
import pytest

from kproxy import policy
from kproxy.errors import PolicyError
from kproxy.model.access import Access, Verdict
from kproxy.model.policy import (
    LEGAL_OPERATIONS,
    AdminLimits,
    Bounds,
    ConfigLimit,
    Place,
    ProduceLimits,
    Safeguard,
)
from kproxy.model.settings import Mode
from tests.support.policies import decider, facts, loaded
from tests.support.safeguards import EVERYBODY, read_safeguards

WRITE = Access("write", "topic", "orders.eu")


def problems(line: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        read_safeguards(line)
    return [str(problem) for problem in caught.value.problems]


def test_all_of_it_is_read() -> None:
    [rule] = read_safeguards(
        "{name: sound, topics: ['orders.*'], action: record, roles: [all], message: Please., produce: {acks: all,"
        " compression: [lz4, zstd], idempotence: true, max_batch_bytes: 1MiB, max_record_bytes: 64KiB},"
        " admin: {requests: [delete_topics], names: ['a.*'], partitions: {min: 3}, replication_factor: {max: 4},"
        " configs: {min.insync.replicas: {min: 2, required: true}, x.y: forbidden, min.cleanable.dirty.ratio:"
        " {max: 0.5}, cleanup.policy: {allowed: [compact, delete]}}, other_configs: refuse}}")
    assert rule == Safeguard(
        "sound", ("orders.*",), ProduceLimits(-1, ("lz4", "zstd"), True, 1 << 20, 1 << 16),
        AdminLimits(("delete_topics",), ("a.*",), Bounds(3, None), Bounds(None, 4), (
            ConfigLimit("min.insync.replicas", 2, required=True), ConfigLimit("x.y", forbidden=True),
            ConfigLimit("min.cleanable.dirty.ratio", most=0.5),
            ConfigLimit("cleanup.policy", allowed=("compact", "delete"))), "refuse"),
        "record", ("all",), message="Please.", at=Place("0.yaml", 3, "safeguards[0]"))
    snapshot = msgspec.msgpack.decode(msgspec.msgpack.encode(rule), type=Safeguard)
    assert snapshot == rule
    [other] = read_safeguards("{name: r, topics: [a], produce: {acks: 1}}")
    assert other.action == "refuse" and other.produce == ProduceLimits(1)


@pytest.mark.parametrize(("line", "words"), [
    ("{topics: [a], produce: {acks: all}}", "0.yaml:3: safeguards[0]: 'name' is missing"),
    ("{name: r, produce: {acks: all}}", "0.yaml:3: safeguards[0]: 'topics' is missing"),
    ("{name: r, topics: [a]}", "0.yaml:3: safeguards[0]: the safeguard says nothing of any request: write produce:"
                               " {acks: all}, or another limit of produce or admin"),
    ("{name: r, topics: [a], produce: {}}", "0.yaml:3: safeguards[0].produce: produce limits nothing: write acks,"
                                            " compression, idempotence, max_batch_bytes or max_record_bytes"),
    ("{name: r, topics: [a], produce: {idempotence: false}}",
     "0.yaml:3: safeguards[0].produce: produce limits nothing"),
    ("{name: r, topics: [a], produce: {acks: 2}}",
     "0.yaml:3: safeguards[0].produce.acks: acks is 1 (of the leader at least) or all"),
    ("{name: r, topics: [a], produce: {compression: [brotli]}}",
     "'brotli' is not one of none, gzip, snappy, lz4, zstd"),
    ("{name: r, topics: [a], produce: {compression: [none, gzip, snappy, lz4, zstd]}}",
     "compression names every codec there is, so it limits nothing"),
    ("{name: r, topics: [a], produce: {max_batch_bytes: 0}}",
     "0.yaml:3: safeguards[0].produce.max_batch_bytes: 0 bytes is no limit: write from 1 to 2147483647"),
    ("{name: r, topics: [a], produce: {max_record_bytes: 4GiB}}", "4294967296 bytes is no limit"),
    ("{name: r, topics: [a], produce: {codec: [gzip]}}", "unknown key 'codec'; known here: acks, compression,"),
    ("{name: r, topics: [a], action: overide, produce: {acks: all}}",
     "'overide' is not one of refuse, override, record"),
    ("{name: r, topics: [a], action: override, produce: {acks: all, compression: [zstd]}}",
     "0.yaml:3: safeguards[0]: produce.compression cannot be overridden, because a batch would have to be compressed"
     " anew, and its sizes would be other ones than the client's; make it a safeguard of its own with action: refuse or"
     " record"),
    ("{name: r, topics: [a], action: override, produce: {idempotence: true}}",
     "produce.idempotence cannot be overridden, because a producer id is given to a client"),
    ("{name: r, topics: [a], action: override, produce: {max_batch_bytes: 1MB}}",
     "produce.max_batch_bytes cannot be overridden"),
    ("{name: r, topics: [a], action: override, produce: {max_record_bytes: 1MB}}",
     "produce.max_record_bytes cannot be overridden"),
    ("{name: r, topics: [a], action: override, produce: {acks: 1}}",
     "produce.acks: 1 cannot be overridden, because who asks for fewer (acks=0) reads no answer"),
    ("{name: r, topics: [a], admin: {}}",
     "0.yaml:3: safeguards[0].admin: admin limits nothing: write requests, names, partitions, replication_factor,"
     " configs or other_configs"),
    ("{name: r, topics: [a], admin: {requests: [create_acls]}}", "'create_acls' is not one of create_topics,"),
    ("{name: r, topics: [a], admin: {partitions: 3}}",
     "0.yaml:3: safeguards[0].admin.partitions: expected a mapping"),
    ("{name: r, topics: [a], admin: {partitions: {min: 0}}}", "0 is not between 1 and 2147483647"),
    ("{name: r, topics: [a], admin: {replication_factor: {max: 40000}}}", "40000 is not between 1 and 32767"),
    ("{name: r, topics: [a], admin: {partitions: {min: 5, max: 4}}}", "no number is at least 5 and at most 4"),
    ("{name: r, topics: [a], admin: {partitions: {}}}", "write min, max or both"),
    ("{name: r, topics: [a], admin: {configs: {min.insync.replica: {min: 2}}}}",
     "0.yaml:3: safeguards[0].admin.configs.min.insync.replica: topics have no config 'min.insync.replica'; did you"
     " mean min.insync.replicas?"),
    ("{name: r, topics: [a], admin: {configs: {}}}", "configs names no config"),
    ("{name: r, topics: [a], admin: {configs: {retention.ms: {}}}}", "the config is not limited: write min, max,"),
    ("{name: r, topics: [a], admin: {configs: {retention.ms: denied}}}",
     "expected limits such as {max: 4}, or forbidden, found 'denied'"),
    ("{name: r, topics: [a], admin: {configs: {retention.ms: {max: 7d}}}}",
     "expected a number such as 3 or 0.5, found text"),
    ("{name: r, topics: [a], admin: {configs: {retention.ms: {min: 9, max: 3}}}}",
     "no number is at least 9 and at most 3"),
    ("{name: r, topics: [a], admin: {configs: {retention.ms: {min: 9, allowed: ['10']}}}}",
     "either numbers are limited, by min and max, or the values are listed in allowed"),
    ("{name: r, topics: [a], admin: {configs: {preallocate: {allowed: [true]}}}}",
     "expected text, found a boolean; put it in quotes"),
    *((f"{{name: r, topics: [a], action: override, admin: {{{limit}}}}}", f"admin.{key} cannot be overridden, because")
      for key, limit in (("names", "names: ['a*']"), ("requests", "requests: [delete_topics]"),
                         ("other_configs", "other_configs: refuse"), ("configs.x", "configs: {x: forbidden}"),
                         ("configs.x", "configs: {x: {allowed: [a, b]}}"),
                         ("configs.x", "configs: {x: {required: true}}"))),
    ("{name: r, topics: [a], roles: [nobody], produce: {acks: all}}", "role 'nobody' is not defined"),
    ("{name: r, topics: [a], except_roles: [nobody], produce: {acks: all}}", "role 'nobody' is not defined"),
    ("{name: 'all.allow[0]', topics: [a], produce: {acks: all}}", "rule 'all.allow[0]' is also defined at 0.yaml:1"),
    ("{name: r, topics: [a], when: 'topic.labels.x == \"1\"', produce: {acks: all}}", "no topic has a label 'x'"),
])
def test_what_is_wrong_is_told_with_its_place(line: str, words: str) -> None:
    assert [problem for problem in problems(line) if words in problem], problems(line)


def test_nothing_else_is_said_of_one_fault() -> None:
    assert len(problems("{name: r, topics: [a], produce: {acks: 2}}")) == 1
    assert len(problems("{name: r, topics: [a], action: override, produce: {acks: 1}}")) == 1


def test_two_that_no_request_can_keep_are_a_contradiction() -> None:
    low, high = "partitions: {max: 4}", "partitions: {min: 5}, configs: {segment.ms: {min: 9}}"

    def both(*more: str) -> list[str]:
        lines = [f"{{name: {name}, topics: ['{topic}'], admin: {{{limits}}}{extra}}}"
                 for name, topic, limits, extra in zip("ab", ("a.*", "*.b"), (low, high), more, strict=True)]
        try:
            read_safeguards(*lines)
        except PolicyError as error:
            return [str(problem) for problem in error.problems]
        return []

    assert both("", "") == both(", action: override", "") == [
        "0.yaml:4: safeguards[1]: no number of partitions of a topic that 'a' and 'b' are about is within the bounds of"
        " both"]
    for extra in (", action: record", ", roles: [all]", ", except_roles: [all]", ", when: 'listener == \"l\"'"):
        assert both("", extra) == both(extra, "") == []
    low = "configs: {segment.ms: {max: 8}}"
    assert "no segment.ms of a topic that" in both("", "")[0]
    low = "configs: {segment.ms: {max: 9}}"
    assert both("", "") == []


@pytest.mark.parametrize(("line", "words"), [
    ("{name: r, topics: [a], when: '1 > 2', produce: {acks: all}}",
     "'r' can never fire: its condition is always false"),
    ("{name: r, topics: [a], except_roles: [all], produce: {acks: all}}",
     "'r' can never fire: nothing allows any role it is for to write its topics"),
    ("{name: r, topics: [a], roles: [all, other], except_roles: [all, other], produce: {acks: all}}",
     "'r' can never fire: every role it is for is excepted"),
])
def test_what_can_never_fire_is_found(line: str, words: str) -> None:
    made = loaded("roles:\n  other: {members: {groups: [g]}}\n"
                  "  all: {members: {groups: [h]}, allow: [{operations: [write], topics: [a]}]}\n"
                  f"safeguards:\n  - {line}\n")
    assert [problem.message for problem in policy.check(made)] == [words]


def test_a_permission_on_the_cluster_can_fire_a_limit_on_creation() -> None:
    made = loaded("roles: {all: {members: {groups: [h]}, allow: [{operations: [create], cluster: true}]}}\n"
                  "safeguards:\n  - {name: r, topics: [a], admin: {partitions: {min: 3}}}\n"
                  "  - {name: s, topics: [a], admin: {requests: [delete_topics]}}\n")
    assert [problem.message for problem in policy.check(made)] == [
        "'s' can never fire: nothing allows any role it is for to delete its topics"]


@pytest.mark.parametrize(("limits", "operations"), [
    ("partitions: {min: 3}", {"create", "alter"}), ("replication_factor: {min: 3}", {"create"}),
    ("names: ['x*']", {"create"}), ("names: ['orders.*']", set()),
    ("configs: {a: forbidden}", {"create", "alter_configs"}), ("other_configs: refuse", {"create", "alter_configs"}),
    ("requests: [create_partitions]", {"alter"}), ("requests: [delete_topics, delete_records]", {"delete"}),
    ("requests: [alter_configs], names: ['orders.*']", {"alter_configs"}),
])
def test_limits_of_an_administrator_are_for_their_operations(limits: str, operations: set[str]) -> None:
    line = f"{{name: r, topics: ['*'], admin: {{{limits}}}}}"
    found = {operation for operation in sorted(LEGAL_OPERATIONS["topic"])
             if in_force(line, access=Access(operation, "topic", "orders.eu")).safeguards}
    assert found == operations


def in_force(line: str, *groups: str, access: Access = WRITE, mode: Mode = "enforce") -> Verdict:
    made = decider("roles:\n  etl: {members: {groups: [etl]}}\n"
                   "  w: {members: 'true', allow: [{operations: [write], topics: ['orders.*']}]}\n"
                   f"safeguards:\n  - {line}\n")
    return made.decide_with_plan(facts(*groups), access, grants=(), mode=mode, now=100.0, count_fields=False)[0]


def test_it_is_for_its_topics_roles_and_condition() -> None:
    everybody = "{name: r, topics: ['orders.*'], produce: {acks: all}}"
    assert [found.rule.name for found in in_force(everybody).safeguards] == ["r"]
    assert in_force(everybody, access=Access("read", "topic", "orders.eu")).safeguards == ()
    assert in_force(everybody, access=Access("write", "topic", "other")).safeguards == ()
    assert in_force(everybody, access=Access("write", "transactional_id", "orders.eu")).safeguards == ()
    for key, for_etl in (("roles", 1), ("except_roles", 0)):
        line = f"{{name: r, topics: ['orders.*'], {key}: [etl], produce: {{acks: all}}}}"
        assert len(in_force(line, "etl").safeguards) == for_etl
        assert len(in_force(line).safeguards) == 1 - for_etl


def test_a_condition_in_error_counts_and_is_told() -> None:
    line = "{name: r, topics: ['*'], when: 'attested.model == \"m\"', produce: {acks: all}}"
    verdict = in_force(line)
    assert verdict.effect == "allow" and len(verdict.safeguards) == 1 and verdict.condition_errors == ("r",)
    clock = in_force("{name: r, topics: ['*'], when: 'now.getSeconds() < 30', produce: {acks: all}}")
    # Second 40 of a minute: it does not apply, and a second later it is asked again.
    assert clock.safeguards == () and clock.valid_until == 101.0


def test_a_listener_that_observes_records() -> None:
    [found] = in_force("{name: r, topics: ['*'], produce: {acks: all}}", mode="observe").safeguards
    assert found.observed and found.rule.action == "refuse"


def test_explained() -> None:
    made = decider(EVERYBODY + "  - {name: r, topics: ['*'], when: 'listener == \"other\"', action: record,"
                               " produce: {acks: all, compression: [zstd, none], max_record_bytes: 9}}\n")
    found = policy.explain(made, facts(), WRITE, now=1.0)
    [view] = found.safeguards
    assert (view.name, view.action, view.held, view.outcome, view.at.line) == ("r", "record", True, "does not hold", 3)
    assert view.limits == ("acks all", "compression zstd or none", "records of 9 bytes at most")
    assert policy.explain(made, facts(), Access("read", "topic", "orders.eu"), now=1.0).safeguards == ()


def test_limits_of_an_administrator_explained() -> None:
    made = decider(EVERYBODY + "  - {name: r, topics: ['*'], admin: {requests: [delete_topics], names: ['a*', b],"
                               " partitions: {min: 1, max: 2}, replication_factor: {min: 3}, other_configs: refuse,"
                               " configs: {x: {max: 4, required: true}, y: {allowed: [p, q]}, z: forbidden}}}\n")
    [view] = policy.explain(made, facts(), Access("create", "topic", "orders.eu"), now=1.0).safeguards
    assert view.limits == ("no delete_topics", "names a* or b", "partitions 1 to 2", "replication factor 3 at least",
                           "x 4 at most required", "y p or q", "z forbidden", "no other configs")

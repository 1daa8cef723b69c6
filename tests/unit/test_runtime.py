"""What a worker's sessions ask: logins with the keys in force, decisions by the snapshot in force, events on their way.

Identity, policy, socket and spool are the real ones; only the native record programs are stood in for, by values.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import AsyncMock

import msgspec
import pytest

from kproxy import policy
from kproxy.dataplane.in_force import SnapshotFile, SnapshotInForce
from kproxy.dataplane.journal import Journal
from kproxy.dataplane.logins import MOST_REFUSALS, Logins
from kproxy.dataplane.quotas import Quotas
from kproxy.dataplane.runtime import Runtime
from kproxy.dataplane.spool import Spool
from kproxy.dataplane.stats import Stats
from kproxy.dataplane.suspend import ApprovalQuestions
from kproxy.dataplane.upstream import Spoken
from kproxy.errors import KproxyError, TokenRefused
from kproxy.model.access import Client, Facts, Principal, Verdict
from kproxy.model.approval import Grant
from kproxy.model.audit_event import AuditEvent
from kproxy.model.messages import KeyAnswer, KeyWanted, pack
from kproxy.model.metrics import METRICS
from kproxy.model.settings import Advertise, Audit, Cluster, Config, Credential, Limits, Listener, Node
from kproxy.model.snapshot import Snapshot
from kproxy.model.spool import EVENT, MAGIC, walk_entries
from tests.support.scripted_control import linked
from tests.support.tokens import ISS, NOW, header, issuer, issuer_keys, public_jwk, raw, rs, rsa_key, token
from tests.support.tokens import claims as honest_claims

POLICY = """
topics:
  - {match: orders, labels: {class: pii}}
roles:
  readers:
    members: {groups: [readers]}
    allow:
      - {operations: [read], topics: [orders, "plain.*"]}
  writers:
    members: '"corp:w1" == principal.name'
    allow:
      - {operations: [write], topics: ["scores.*"]}
masks:
  - {name: contact, topics: [orders], directions: [consume], fields: [user.email], action: redact}
  - {name: notes, topics: ["scores.*"], directions: [produce], fields: [note], action: redact}
approvals:
  - {name: new-model, operations: [write], topics: ["scores.*"], unless: 'attested.model in granted.models',
     approvers: {role: readers, quorum: 1}, request_ttl: 1h, max_duration: 8h}
"""
LISTENER = Listener("public", "prod", "127.0.0.1", 9092, Advertise("localhost", 0, 3, 9100), ("OAUTHBEARER", "PLAIN"))
CLIENT = Client("job-7", "librdkafka", "127.0.0.1")


class Programs:
    """Stands in for kproxy._ext.mask: a program is the plan it was made of, counted."""

    def __init__(self) -> None:
        self.compiled: list = []

    def compile_plan(self, plan, keys, limits):
        self.compiled.append(plan)
        return plan

    def Plan(self, program):
        return SimpleNamespace(program=program)


class World:
    """A runtime with everything around it, in one directory. ``publish`` puts a snapshot in place."""

    def __init__(self, tmp_path: Path, link, control) -> None:
        self.now = float(NOW)
        self.control = control
        self.path = tmp_path / "snapshot.msgpack"
        self.programs = Programs()
        self.epochs: list[int] = []
        self.stats = Stats(2)
        self.spool_path = tmp_path / "spool"
        self.spool = Spool(self.spool_path, 2, 1700, Audit(), clock=lambda: 0.0, call_soon=lambda action: None)
        self.file = SnapshotFile(self.path, self.build, lambda one: self.epochs.append(one.snapshot.epoch))
        self.config = Config(
            file="kproxy.yaml", node=Node("edge-1"), issuers={}, policy_path="", mode="enforce", keys={"k1": b"secret"},
            clusters={"prod": Cluster("prod", (("127.0.0.1", 1),), (
                Credential("PLAIN", role="writers", username="svc-w", password="a"),
                Credential("PLAIN", username="svc", password="b")))},
            listeners={"public": LISTENER}, limits=Limits(connections_max_reauth=200.0))
        self.journal = Journal(self.spool, "edge-1", 2, 1700, now=lambda: self.now, on_event=self.stats.on_event,
                               in_force=lambda listener: (self.runtime.policy_version, "enforce" if listener else ""))
        logins = Logins({ISS: issuer()}, self.file, link, self.journal, now=lambda: self.now, longest_session=200.0,
                        error_id=lambda: "e-1", on_checked=lambda *labels: self.stats.add(
                            "kproxy_token_checks_total", labels))
        view = SimpleNamespace(versions=AsyncMock(side_effect=lambda node: Spoken({36: (0, 2 if node == 1 else 0)})))
        self.runtime = Runtime(self.config, 2, file=self.file, journal=self.journal, logins=logins,
                               approvals=ApprovalQuestions(link), clusters={"prod": view}, schemas={}, stats=self.stats,
                               quotas=Quotas(None),
                               now=lambda: self.now)

    def build(self, snapshot: Snapshot) -> SnapshotInForce:
        return SnapshotInForce(snapshot, policy.compile(snapshot.policy), self.programs, self.config.limits,
                       self.file.in_force)

    def publish(self, epoch: int, source: str = POLICY, keys=None, grants=(), modes=None, masking_keys=None) -> None:
        loaded = policy.load({"policy.yaml": source.encode()})
        snapshot = Snapshot(epoch, self.now, loaded, f"v{epoch}", modes or {"public": "enforce"},
                            (keys or issuer_keys(),), tuple(grants), masking_keys or {"k1": b"secret"})
        self.path.write_bytes(msgspec.msgpack.encode(snapshot))

    def events(self) -> list[AuditEvent]:
        self.spool.commit()
        found = []
        for segment in sorted(self.spool_path.glob("*.seg")):
            for kind, payload, _ in walk_entries(segment.read_bytes(), len(MAGIC)):
                if kind == EVENT:
                    found.append(msgspec.json.decode(payload, type=AuditEvent))
        return found

    def checks(self) -> dict:
        return dict(self.stats._counts.get("kproxy_token_checks_total", {}))


@asynccontextmanager
async def world(tmp_path: Path, epoch: int = 1, started: bool = True, **snapshot):
    async with linked(tmp_path, started=started) as (link, control):
        one = World(tmp_path, link, control)
        if epoch:
            one.publish(epoch, **snapshot)
            assert await one.file.load() == ""
        yield one


def facts(name: str = "corp:w1", groups=(), **more) -> Facts:
    return Facts(Principal(name, "corp", name, groups), "OAUTHBEARER", "public", **more)


def bearer(text: str, extensions: str = "", authzid: str = "") -> bytes:
    return f"n,{authzid and 'a=' + authzid},\x01auth=Bearer {text}\x01{extensions}\x01".encode()


# -- logins ------------------------------------------------------------------------------------------------------------


async def test_a_bearer_token_becomes_facts(tmp_path):
    async with world(tmp_path) as one:
        got = await one.runtime.validate("OAUTHBEARER", bearer(token(), "run=77\x01"), LISTENER, CLIENT)
        assert (got.principal.name, got.mechanism, got.listener, got.client) == (
            "corp:w1", "OAUTHBEARER", "public", CLIENT)
        assert got.declared == {"run": "77"} and got.attested == {}
        assert got.expires_at == NOW + 200, "the local cap is earlier than exp"
        assert one.checks() == {("corp", "accepted"): 1}


async def test_the_token_may_come_as_a_password(tmp_path):
    async with world(tmp_path) as one:
        got = await one.runtime.validate("PLAIN", b"\0anybody\0" + token().encode(), LISTENER, CLIENT)
        assert (got.principal.name, got.mechanism, got.declared) == ("corp:w1", "PLAIN", {"username": "anybody"})
        got = await one.runtime.validate("PLAIN", b"\0" + b"\0".join([token().encode()] * 2), LISTENER, CLIENT)
        assert got.declared == {}, "a secret is nothing to show"


@pytest.mark.parametrize(("mechanism", "payload", "reason", "alias"), [
    ("OAUTHBEARER", bearer(token(exp=NOW - 60)), "expired", "corp"),
    ("OAUTHBEARER", bearer(token(), authzid="somebody-else"), "authzid_refused", "corp"),
    ("OAUTHBEARER", b"n,,\x01nonsense", "sasl_malformed", ""),
    ("PLAIN", b"\0svc\0hunter2-shared", "malformed_token", ""),
    ("PLAIN", b"\0svc\0" + token(iss="https://other.example.com").encode(), "unknown_issuer", ""),
    ("SCRAM-SHA-256", b"", "sasl_malformed", "")])
async def test_a_refused_login_is_counted_audited_and_says_nothing(tmp_path, mechanism, payload, reason, alias, capsys):
    async with world(tmp_path) as one:
        with pytest.raises(TokenRefused) as caught:
            await one.runtime.validate(mechanism, payload, LISTENER, CLIENT)
        assert (caught.value.reason, caught.value.error_id) == (reason, "e-1")
        assert one.checks() == {(alias, reason): 1}
        (event,) = one.events()
        assert (event.kind, event.reason, event.error_id, event.issuer, event.listener, event.address) == (
            "login_failed", reason, "e-1", alias, "public", "127.0.0.1")
        said = repr(event) + capsys.readouterr().out
        assert "eyJ" not in said and "hunter2" not in said


async def test_a_flood_of_refused_logins_is_counted_and_not_told_one_by_one(tmp_path):
    async with world(tmp_path) as one:
        for later, times in ((0, MOST_REFUSALS + 25), (60, 1)):
            one.now += later
            for _ in range(times):
                with pytest.raises(TokenRefused, match="malformed_token"):
                    await one.runtime.validate("PLAIN", b"\0svc\0bad", LISTENER, CLIENT)
        told = [event for event in one.events() if event.kind == "login_failed"]
        assert len(told) == MOST_REFUSALS + 2
        assert [event.details for event in told if not event.reason] == [{"more": 25}]
        assert one.checks() == {("", "malformed_token"): MOST_REFUSALS + 26}


async def test_a_brand_new_key_works_at_the_first_try(tmp_path):
    fresh = rsa_key("k2")
    async with world(tmp_path) as one:
        async def fetched(asked: KeyWanted) -> None:
            one.publish(2, keys=issuer_keys(public_jwk(fresh, kid="k2", use="sig", alg="RS256")))
            one.control.send(pack(KeyAnswer(asked.ask, True, 2)))

        tasks = []
        one.control.answer = lambda asked: tasks.append(asyncio.create_task(fetched(asked)))
        signed = raw(header(kid="k2"), honest_claims(), rs(fresh))
        got = await one.runtime.validate("OAUTHBEARER", bearer(signed), LISTENER, CLIENT)
        assert got.principal.name == "corp:w1"
        assert one.control.received[1:] == [KeyWanted(1, "corp", "k2", "unknown_kid")]
        assert one.epochs == [1, 2]
        assert one.checks() == {("corp", "accepted"): 1}


async def test_a_key_that_nobody_lists_is_refused_after_one_question(tmp_path):
    async with world(tmp_path) as one:
        one.control.answer = lambda asked: KeyAnswer(asked.ask, False, 1, "not listed")
        signed = raw(header(kid="k9"), honest_claims(), rs(rsa_key("k9")))
        with pytest.raises(TokenRefused) as caught:
            await one.runtime.validate("OAUTHBEARER", bearer(signed), LISTENER, CLIENT)
        assert caught.value.reason == "unknown_kid"
        assert len(one.control.received) == 2


async def test_without_control_known_keys_go_on_and_new_ones_are_refused(tmp_path):
    async with world(tmp_path, started=False) as one:
        await one.runtime.validate("OAUTHBEARER", bearer(token()), LISTENER, CLIENT)
        signed = raw(header(kid="k9"), honest_claims(), rs(rsa_key("k9")))
        with pytest.raises(TokenRefused, match="unknown_kid"):
            await one.runtime.validate("OAUTHBEARER", bearer(signed), LISTENER, CLIENT)


async def test_before_any_snapshot_nobody_gets_in(tmp_path):
    async with world(tmp_path, epoch=0) as one:
        one.control.answer = lambda asked: KeyAnswer(asked.ask, False, 0, "starting")
        with pytest.raises(TokenRefused):
            await one.runtime.validate("OAUTHBEARER", bearer(token()), LISTENER, CLIENT)
        with pytest.raises(KproxyError, match="no policy is in force"):
            one.runtime.decider_for(facts())("topic", "read", "orders", NOW)


# -- decisions ---------------------------------------------------------------------------------------------------------


async def test_default_deny_and_the_consume_plan_of_a_masked_topic(tmp_path):
    async with world(tmp_path) as one:
        decide = one.runtime.decider_for(facts(groups=("readers",)))
        verdict, plan = decide("topic", "read", "orders", NOW)
        assert verdict.effect == "allow"
        assert plan.program.direction == "consume" and plan.program.fields[0].path == ("user", "email")
        assert decide("topic", "read", "plain.x", NOW)[1] is None, "no rule, nothing to count"
        verdict, plan = decide("topic", "write", "orders", NOW)
        assert (verdict.effect, plan) == ("deny", None)
        assert decide("group", "read", "g", NOW)[0].effect == "deny"


async def test_a_program_is_compiled_once_and_a_plan_made_for_each_cell(tmp_path):
    async with world(tmp_path) as one:
        plans = [one.runtime.decider_for(facts(name, ("readers",)))("topic", "read", "orders", NOW)[1] for name in "ab"]
        assert plans[0] is not plans[1] and plans[0].program is plans[1].program
        assert len(one.programs.compiled) == 1


@pytest.mark.parametrize(("changed", "compiled"), [
    ({"grants": [Grant("g1", "new-model", "corp:w1", "write", "topic", "scores.a", "m1", NOW, NOW + 100)]}, 1),
    ({"masking_keys": {"k1": b"another"}}, 2), ({"source": POLICY.replace("user.email", "user.phone")}, 2)])
async def test_what_was_compiled_is_used_on_as_long_as_it_stays_true(tmp_path, changed, compiled):
    async with world(tmp_path) as one:
        decide = one.runtime.decider_for(facts(groups=("readers",)))
        decide("topic", "read", "orders", NOW)
        one.publish(2, **changed)
        await one.file.load()
        assert decide("topic", "read", "orders", NOW)[1] is not None
        assert one.epochs == [1, 2] and len(one.programs.compiled) == compiled


async def test_a_plan_that_cannot_be_compiled_refuses(tmp_path):
    async with world(tmp_path) as one:
        one.programs.compile_plan = lambda *about: (_ for _ in ()).throw(ValueError("unknown entity"))
        with pytest.raises(ValueError, match="unknown entity"):
            one.runtime.decider_for(facts(groups=("readers",)))("topic", "read", "orders", NOW)


async def test_a_session_decides_by_whatever_is_in_force_now(tmp_path):
    async with world(tmp_path) as one:
        decide = one.runtime.decider_for(facts(attested={"model": "m1"}))
        verdict, plan = decide("topic", "write", "scores.a", NOW)
        assert (verdict.effect, verdict.rule, plan) == ("ask", "new-model", None)
        grant = Grant("g1", "new-model", "corp:w1", "write", "topic", "scores.a", "m1", NOW, NOW + 100)
        one.publish(2, grants=[grant, Grant("g2", "new-model", "corp:other", "write", "topic", "x", "m1", 0, NOW + 9)])
        await one.file.load()
        verdict, plan = decide("topic", "write", "scores.a", NOW)
        assert (verdict.effect, verdict.valid_until) == ("allow", NOW + 100)
        assert plan.program.direction == "produce"
        one.publish(3)
        await one.file.load()
        assert decide("topic", "write", "scores.a", NOW)[0].effect == "ask", "revoked"
        assert one.epochs == [1, 2, 3] and one.runtime.epoch == 3 and one.runtime.policy_version == "v3"


async def test_an_observing_listener_lets_through_and_says_what_it_would_do(tmp_path):
    async with world(tmp_path, modes={"public": "observe"}) as one:
        verdict, _ = one.runtime.decider_for(facts())("topic", "read", "orders", NOW)
        assert (verdict.effect, verdict.would) == ("allow", "deny")


async def test_a_listener_that_the_snapshot_does_not_name_enforces(tmp_path):
    async with world(tmp_path, modes={"other": "observe"}) as one:
        assert one.runtime.decider_for(facts())("topic", "read", "orders", NOW)[0].effect == "deny"


async def test_an_error_in_a_masks_condition_masks_and_is_heard(tmp_path):
    source = POLICY.replace("fields: [user.email]", "when: 'attested.model == \"m\"', fields: [user.email]")
    async with world(tmp_path, source=source) as one:
        _, plan = one.runtime.decider_for(facts(groups=("readers",)))("topic", "read", "orders", NOW)
        assert plan is not None
        (event,) = one.events()
        assert (event.kind, event.rule, event.principal) == ("condition_error", "contact", "corp:w1")
        assert one.stats._counts["kproxy_policy_errors_total"] == {("contact",): 1}


# -- brokers, events, counters -----------------------------------------------------------------------------------------


async def test_credentials_follow_the_roles(tmp_path):
    async with world(tmp_path) as one:
        login = await one.runtime.broker_login("prod", 1, facts())
        assert (login._credential.username, login._version) == ("svc-w", 1)
        assert (await one.runtime.broker_login("prod", 2, facts()))._version == 0, "each broker's own versions"
        assert (await one.runtime.broker_login("prod", 1, facts("corp:x")))._credential.username == "svc"


async def test_an_event_names_itself_and_the_policy(tmp_path):
    async with world(tmp_path) as one:
        first = one.runtime.record_event("connect", facts(attested={"run": "7"}, client=CLIENT), session="2-1")
        second = one.runtime.record_event("node_started")
        assert (first, second) == ("edge-1.2.1700.1", "edge-1.2.1700.2")
        connect, started = one.events()
        assert (connect.principal, connect.attested, connect.client_id, connect.policy_version, connect.mode) == (
            "corp:w1", {"run": "7"}, "job-7", "v1", "enforce")
        assert (started.ts, started.node, started.worker, started.mode) == (NOW, "edge-1", 2, "")


async def test_what_a_session_tells_is_put_in_words(tmp_path):
    async with world(tmp_path) as one:
        session = SimpleNamespace(number=9, facts=facts())
        one.journal.tell("denied", session, {
            "api": 0, "operation": "write", "resource": "topic", "name": "orders",
            "verdict": Verdict("deny", "r1", "no"), "request_id": ""})
        unsure = Verdict("deny", "", "no rule", condition_errors=("a.allow[0]", "b"), missing=("attested.model",))
        one.journal.tell("denied", session, {"api": 0, "operation": "write", "resource": "topic", "name": "t",
                                             "verdict": unsure})
        one.journal.tell("guard_hit", session, {"api": 0, "topic": "p", "rules": {"secrets": 2}})
        denied, missed, hit = one.events()
        assert missed.reason == "no rule; in error: a.allow[0], b (attested.model missing)"
        assert (denied.session, denied.api, denied.decision, denied.rule, denied.reason, denied.name) == (
            "2-9", "Produce", "deny", "r1", "no", "orders")
        assert hit.rules == {"secrets": 2}
        assert one.stats._counts["kproxy_guard_hits_total"] == {("secrets",): 2}


def test_stats_are_the_closed_tables_names_and_shapes():
    stats = Stats(2)
    stats.loop_lag = 0.5
    stats.add("kproxy_token_checks_total", ("corp", "accepted"))
    with pytest.raises(KeyError):
        stats.add("kproxy_made_up_total", ())
    with pytest.raises(ValueError, match="labels"):
        stats.add("kproxy_token_checks_total", ("corp",))
    counted = {"requests": {(0, "allowed"): 5, (999, "denied"): 1}, "durations": {0: [1] * 19 + [0.5]},
               "bytes_in": 10, "bytes_out": 20, "records_in": 3, "records_out": 4}
    session = SimpleNamespace(phase="open", facts=facts())
    half = SimpleNamespace(session=session, broker=SimpleNamespace(transport=object()))
    connections = SimpleNamespace(
        closes={"idle": 2}, at_gates=[SimpleNamespace(listener=LISTENER)],
        open={1: SimpleNamespace(half=half, listener=LISTENER, node=None)},
        counters={"public": SimpleNamespace(read=lambda: counted), "other": SimpleNamespace(read=lambda: counted)})
    values = stats.collect(connections)
    assert values["kproxy_requests_total"][:2] == [
        (("public", "Produce", "allowed"), 5), (("public", "other", "denied"), 1)]
    assert values["kproxy_request_duration_seconds"] == [(("Produce",), [2] * 19 + [1.0])]
    assert values["kproxy_bytes_total"][0] == (("public", "in"), 10)
    assert values["kproxy_records_total"] == [(("produce",), 6), (("consume",), 8)]
    assert values["kproxy_connections"] == [(("public", "header"), 1), (("public", "open"), 1)]
    assert values["kproxy_sessions"] == [(("public", "OAUTHBEARER"), 1)]
    assert values["kproxy_broker_connections"] == [(("prod", "bootstrap"), 1)]
    assert values["kproxy_close_total"] == [(("idle",), 2)]
    assert values["kproxy_loop_lag_seconds"] == [(("2",), 0.5)]
    for name, rows in values.items():
        assert all(len(labels) == len(METRICS[name].labels) for labels, _ in rows)

"""The admin API as callers see it: who may do what, what four eyes mean over TCP and over the operator socket."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_rig import JOB, WANTED, ControlRig, ScriptedWorker, running, session, until

PATHS = ["/v1/status", "/v1/requests", "/v1/requests/req-0001", "/v1/grants", "/v1/sessions", "/v1/audit/tail", "/",
         "/schema", "/v1/no-such-path", "/metrics"]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[ControlRig]:
    async with running(ControlRig(tmp_path)) as one:
        yield one


@pytest.fixture
async def worker(rig: ControlRig) -> AsyncIterator[ScriptedWorker]:
    async with ScriptedWorker(rig) as one:
        yield one


async def approve(rig: ControlRig, token: str, request_id: str = "req-0001", over: str = "tcp",
                  **body: Any) -> tuple[int, Any]:
    return await rig.call("POST", f"/v1/requests/{request_id}/approve", token, body, over)


async def test_over_tcp_nothing_is_told_to_nobody(rig: ControlRig) -> None:
    for path in PATHS:
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            status, told = await rig.call(method, path)
            assert (status, told["detail"]) == (401, "say who you are: Authorization: Bearer and a token")
    for wrong in ("Basic dXNlcjpwdw==", "Bearer"):
        status, told = await rig.call("GET", "/v1/status", authorization=wrong)
        assert (status, told["detail"]) == (401, "the Authorization header must be Bearer and a token")


@pytest.mark.parametrize("changes", [{"exp": 1}, {"aud": "other"}, {"iss": "https://evil.example.com"}, {"key": "k9"}])
async def test_a_bad_token_is_refused_with_a_number_that_leads_to_the_reason(rig: ControlRig,
                                                                             changes: dict[str, Any]) -> None:
    token = rig.token("bob", "viewers", **changes)
    status, told = await rig.call("GET", "/v1/status", token)
    assert status == 401
    assert told["detail"].startswith("the token was refused (error ")
    (line,) = await until(lambda: rig.audit("login_failed"))
    assert told["detail"] == f"the token was refused (error {line['error_id']})"
    assert line["reason"] and line["listener"] == "admin"
    assert "eyJ" not in rig.log.getvalue() and "eyJ" not in str(rig.audit())
    # Over the operator socket a bad token is not made up for by the socket's own rights.
    status, _ = await rig.call("GET", "/v1/status", token, over="socket")
    assert status == 401


async def test_refused_logins_do_not_fill_the_spool(rig: ControlRig) -> None:
    for _ in range(63):
        assert (await rig.call("GET", "/v1/status", "not.a.token"))[0] == 401
    await rig.stop()
    assert len(rig.audit("login_failed")) == 60


async def test_roles_of_the_node_bound_what_is_seen(rig: ControlRig) -> None:
    for group, path, status in (
        ("viewers", "/v1/status", 200), ("viewers", "/v1/sessions", 200), ("viewers", "/v1/audit/tail", 403),
        ("auditors", "/v1/audit/tail", 200), ("operators", "/v1/status", 200), ("nobodies", "/v1/status", 403),
        ("nobodies", "/v1/sessions", 403), ("ml-risk", "/v1/status", 403), ("nobodies", "/v1/no-such-path", 404),
    ):
        assert (await rig.call("GET", path, rig.token("bob", group)))[0] == status, (group, path)


async def test_what_is_not_allowed_is_said_in_one_line(rig: ControlRig) -> None:
    status, told = await rig.call("DELETE", "/v1/sessions/0-1", rig.token("bob", "viewers"))
    assert (status, told) == (403, {
        "type": "about:blank", "title": "Not allowed", "status": 403,
        "detail": "to kill sessions takes node role operator, which corp:bob does not have"})


async def test_status_says_what_is_in_force(rig: ControlRig, worker: ScriptedWorker) -> None:
    worker.values = {"kproxy_broker_connections": [(("prod", "1"), 3)],
                     "kproxy_broker_errors_total": [(("prod", "timeout"), 2)]}
    await until(lambda: rig.node.links.is_ready())
    _, told = await rig.call("GET", "/v1/status", rig.token("bob", "viewers"))
    assert (told["node"], told["policy"]["version"], told["policy"]["approvals"]) == (
        "edge-1", rig.node.reloader.loaded.policy.version, 1)
    assert told["listeners"] == [{"name": "public", "cluster": "prod", "bind": f"127.0.0.1:{rig.listener}",
                                  "mode": "enforce", "authenticate": ["OAUTHBEARER"]}]
    (one,) = told["workers"]
    assert (one["worker"], one["pid"], one["in_force"], one["epoch"]) == (0, 4000, True, told["epoch"])
    (upstream,) = told["upstreams"]
    assert upstream.pop("last_error")["cause"] == "timeout"
    assert upstream == {"cluster": "prod", "bootstrap": ["127.0.0.1:1"], "connections": {"1": 3},
                        "errors": {"timeout": 2}}
    assert told["last_reload"]["good"] is True
    assert [(one["issuer"], one["keys"], one["error"]) for one in told["issuers"]] == [("corp", 1, "")]


async def test_another_person_approves_and_the_workers_decide_by_it_before_the_answer(
        rig: ControlRig, worker: ScriptedWorker) -> None:
    await worker.ask_approval()
    status, told = await approve(rig, rig.token("rita", "ml-risk"), reason="evaluated", **{"for": 600})
    assert (status, told["request"]["state"], told["in_force"], told["approvals_needed"]) == (200, "approved", True, 0)
    (grant,) = worker.snapshots[-1].grants
    assert grant.id == told["grant"]["id"] == "grant-0001"
    assert (grant.principal, grant.model, grant.until - grant.since) == ("corp:fraud-job", "models:/fraud/4", 600)
    assert grant.approvers[0].subject == "rita"
    answer = await worker.ask_approval()
    assert (answer.request_id, answer.state) == ("req-0001", "approved")
    kinds = await until(lambda: (found := [one["kind"] for one in rig.audit() if "request_id" in one])[2:] and found)
    assert kinds == ["approval_requested", "approval_reviewed", "grant_started"]


@pytest.mark.parametrize("over", ["tcp", "socket"])
async def test_nobody_approves_himself_whichever_way_he_comes(rig: ControlRig, worker: ScriptedWorker,
                                                              over: str) -> None:
    await worker.ask_approval()
    token = rig.token("fraud-job", "ml-risk", "operators")
    status, told = await approve(rig, token, over=over)
    assert (status, told["detail"]) == (403, "you asked for req-0001 yourself; somebody else must review it")
    status, told = await approve(rig, rig.token("alice", "ml-risk"), over=over)
    assert (status, told["detail"]) == (403, "you launched what asks for req-0001; somebody else must review it")
    assert rig.snapshot().grants == ()


async def test_the_log_names_a_request_once_however_often_it_is_retried(rig: ControlRig,
                                                                        worker: ScriptedWorker) -> None:
    assert (await worker.ask_approval()).request_id == (await worker.ask_approval()).request_id == "req-0001"
    (line,) = [json.loads(line) for line in rig.log.getvalue().splitlines() if "approval_requested" in line]
    assert {key: line[key] for key in ("level", "request", "rule", "principal", "resource")} == {
        "level": "info", "request": "req-0001", "rule": "new-model-version", "principal": "corp:fraud-job",
        "resource": "topic scores.fraud"}


async def test_the_operator_socket_lists_revokes_and_kills_but_does_not_approve(rig: ControlRig,
                                                                                worker: ScriptedWorker) -> None:
    await worker.ask_approval()
    status, told = await approve(rig, "", over="socket")
    assert (status, told["detail"]) == (
        403, "the operator socket does not say who you are: review with a token of your own")
    status, told = await rig.call("POST", "/v1/requests/req-0001/deny", "", {}, over="socket")
    assert status == 403
    _, told = await rig.call("GET", "/v1/requests", over="socket")
    assert [(one["id"], one["state"]) for one in told] == [("req-0001", "pending")]
    assert (await approve(rig, rig.token("rita", "ml-risk"), over="socket"))[0] == 200
    status, told = await rig.call("POST", "/v1/grants/req-0001/revoke", "", {"reason": "incident"}, over="socket")
    assert (status, told["in_force"]) == (200, True)
    assert worker.snapshots[-1].grants == ()
    (ended,) = await until(lambda: rig.audit("grant_ended"))
    assert (ended["decision"], ended["reason"]) == ("revoked", "incident")
    assert ended["actor"].startswith(f"operator:{os.geteuid()}")
    assert (rig.runtime / "operator.sock").stat().st_mode & 0o777 == 0o600


async def test_only_the_rules_approvers_approve(rig: ControlRig, worker: ScriptedWorker) -> None:
    await worker.ask_approval()
    status, told = await approve(rig, rig.token("vera", "operators", "viewers"))
    assert (status, told["detail"]) == (
        403, "rule new-model-version is reviewed by role ml-risk, which you do not have")
    status, told = await approve(rig, rig.token("nora"))
    assert (status, told["detail"]) == (404, "there is no request req-0001")


async def test_one_sees_ones_own_requests_and_those_one_may_review(rig: ControlRig, worker: ScriptedWorker) -> None:
    await worker.ask_approval()
    for token, seen in ((rig.token("fraud-job"), 1), (rig.token("nora"), 0), (rig.token("rita", "ml-risk"), 1),
                        (rig.token("vera", "viewers"), 1)):
        assert len((await rig.call("GET", "/v1/requests", token))[1]) == seen
        assert (await rig.call("GET", "/v1/requests/req-0001", token))[0] == (200 if seen else 404)
    assert (await rig.call("GET", "/v1/requests?state=denied,timed_out", rig.token("vera", "viewers")))[1] == []
    status, told = await rig.call("GET", "/v1/requests?state=denied,open", rig.token("vera", "viewers"))
    assert (status, told["detail"]) == (400, "open is no state of a request; there are pending, approved, denied, "
                                             "cancelled, timed_out, revoked, expired")
    status, told = await rig.call("POST", "/v1/grants/grant-nosuch/revoke", rig.token("olga", "operators"), {})
    assert (status, told["detail"]) == (404, "there is no grant or request grant-nosuch")


async def test_decisions_at_the_same_moment_have_one_outcome(rig: ControlRig, worker: ScriptedWorker) -> None:
    await worker.ask_approval()
    calls = []
    for number in range(6):
        token = rig.token(f"rita-{number}", "ml-risk")
        decision = "approve" if number % 2 else "deny"
        calls.append(rig.call("POST", f"/v1/requests/req-0001/{decision}", token, {}))
    outcomes = await asyncio.gather(*calls)
    assert sorted(status for status, _ in outcomes) == [200, 409, 409, 409, 409, 409]
    state = next(told["request"]["state"] for status, told in outcomes if status == 200)
    assert {told["detail"] for status, told in outcomes if status == 409} == {
        f"request req-0001 is {state} and stays so"}
    assert len(rig.node.book.grants(rig.now())) == (1 if state == "approved" else 0)


async def test_a_grant_ends_on_time_without_anybody_asking(rig: ControlRig, worker: ScriptedWorker) -> None:
    await worker.ask_approval()
    await approve(rig, rig.token("rita", "ml-risk"), **{"for": 60})
    assert len(worker.snapshots[-1].grants) == 1
    rig.shift = 60.0
    await until(lambda: worker.snapshots[-1].grants == ())
    (ended,) = await until(lambda: rig.audit("grant_ended"))
    assert ended["decision"] == "expired"


async def test_approvals_survive_a_restart(tmp_path: Path) -> None:
    rig = ControlRig(tmp_path)
    async with running(rig), ScriptedWorker(rig) as worker:
        await worker.ask_approval()
        await worker.ask_approval(wanted=type(WANTED)("new-model-version", "write", "topic", "scores.b"))
        await approve(rig, rig.token("rita", "ml-risk"))
    async with running(rig), ScriptedWorker(rig) as worker:
        assert [grant.id for grant in worker.snapshots[0].grants] == ["grant-0001"]
        _, told = await rig.call("GET", "/v1/requests", rig.token("vera", "viewers"))
        assert [(one["id"], one["state"]) for one in told] == [("req-0002", "pending"), ("req-0001", "approved")]
    kinds = [one["kind"] for one in rig.audit() if "request_id" in one]
    assert kinds == ["approval_requested", "approval_requested", "approval_reviewed", "grant_started"]


async def test_asking_beforehand_and_giving_the_reason_later(tmp_path: Path) -> None:
    from tests.support.control_rig import POLICY

    async with running(ControlRig(tmp_path, POLICY.replace("request_ttl", "reason: required, request_ttl"))) as rig:
        job = rig.token("fraud-job", "fraud-scoring", actor="alice", model_uri="models:/fraud/4")
        async with ScriptedWorker(rig) as worker:
            await worker.ask_approval()
            status, told = await approve(rig, rig.token("rita", "ml-risk"))
            assert (status, told["detail"]) == (
                409, "rule new-model-version requires a reason, and the requester of req-0001 has given none")
            wish = {"operation": "write", "name": "scores.fraud", "reason": "RISK-12"}
            status, told = await rig.call("POST", "/v1/requests", job, wish)
            assert (status, told["id"], told["reason"]) == (201, "req-0001", "RISK-12")
            assert told["model"] == "models:/fraud/4"
            assert (await approve(rig, rig.token("rita", "ml-risk")))[0] == 200
            status, told = await rig.call("POST", "/v1/requests", job, wish)
            assert (status, told["detail"]) == (409, "write on scores.fraud needs no approval")
        status, told = await rig.call("POST", "/v1/requests", job, {"operation": "write", "name": "orders"})
        assert (status, told["detail"]) == (403, "write on orders is denied and no approval can allow it")
        status, told = await rig.call("POST", "/v1/requests", "", wish, over="socket")
        assert (status, told["detail"]) == (
            403, "a request is made in the name of a token: use --token-file or KPROXY_TOKEN")


async def test_a_request_is_cancelled_by_its_requester_or_an_operator(rig: ControlRig, worker: ScriptedWorker) -> None:
    await worker.ask_approval()
    status, told = await rig.call("POST", "/v1/requests/req-0001/cancel", rig.token("rita", "ml-risk"), {})
    assert (status, told["detail"]) == (
        403, "to cancel requests takes node role operator, which corp:rita does not have")
    status, told = await rig.call("POST", "/v1/requests/req-0001/cancel", rig.token("fraud-job"), {"reason": "wrong"})
    assert (status, told["state"]) == (200, "cancelled")


async def test_an_approver_may_revoke_and_a_stranger_may_not(rig: ControlRig, worker: ScriptedWorker) -> None:
    await worker.ask_approval()
    await approve(rig, rig.token("rita", "ml-risk"))
    assert (await rig.call("POST", "/v1/grants/grant-0001/revoke", rig.token("nora"), {}))[0] == 403
    assert (await rig.call("GET", "/v1/grants", rig.token("nora")))[1] == []
    assert [one["id"] for one in (await rig.call("GET", "/v1/grants", rig.token("fraud-job")))[1]] == ["grant-0001"]
    assert (await rig.call("POST", "/v1/grants/grant-0001/revoke", rig.token("rupert", "ml-risk"), {}))[0] == 200
    status, told = await rig.call("POST", "/v1/grants/grant-0001/revoke", rig.token("rupert", "ml-risk"), {})
    assert (status, told["detail"]) == (404, "there is no grant grant-0001 in force")


async def test_sessions_are_listed_and_killed(rig: ControlRig, worker: ScriptedWorker) -> None:
    worker.sessions = [session(1), session(2, principal="corp:other")]
    operator = rig.token("vera", "operators")
    _, told = await rig.call("GET", "/v1/sessions?principal=corp:other", operator)
    assert [one["id"] for one in told] == ["0-2"]
    assert (await rig.call("GET", "/v1/sessions/0-2", operator))[1]["declared"] == {"owner": "bob"}
    assert await rig.call("DELETE", "/v1/sessions/0-2?reason=incident", operator) == (200, {"closed": 1})
    assert [one.id for one in worker.sessions] == ["0-1"]
    (line,) = await until(lambda: rig.audit("session_killed"))
    assert (line["session"], line["actor"], line["reason"], line["principal"]) == (
        "0-2", "corp:vera (corp:vera)" if line["actor"].endswith(")") else "corp:vera", "incident", "corp:other")
    status, told = await rig.call("DELETE", "/v1/sessions/0-2", operator)
    assert (status, told["detail"]) == (404, "there is no session 0-2")


async def test_forwarding_headers_are_not_believed(rig: ControlRig) -> None:
    await rig.call("GET", "/v1/status", "not.a.token", **{"x-forwarded-for": "10.1.2.3", "forwarded": "for=10.1.2.3"})
    (line,) = await until(lambda: rig.audit("login_failed"))
    assert line["address"].startswith("127.0.0.1:")


@pytest.mark.parametrize("body", [{"for": "soon"}, {"reason": 7}, {"other": 1}, [], "x"])
async def test_a_body_of_another_shape_is_refused_in_one_line(rig: ControlRig, body: Any) -> None:
    status, told = await rig.call("POST", "/v1/requests/req-1/approve", rig.token("rita", "ml-risk"), body)
    assert (status, told["title"]) == (400, "Bad request")
    assert told["detail"] and "\n" not in told["detail"]


async def test_a_brand_new_key_works_at_the_first_try(rig: ControlRig) -> None:
    await until(lambda: rig.node.keys.current())
    rig.list_keys("k1", "k2")
    assert (await rig.call("GET", "/v1/status", rig.token("bob", "viewers", key="k2")))[0] == 200


async def test_the_audit_is_asked_over_the_api(rig: ControlRig, worker: ScriptedWorker) -> None:
    await worker.ask_approval()
    await until(lambda: rig.audit("approval_requested"))
    auditor = rig.token("theo", "auditors")
    _, rows = await rig.call("POST", "/v1/audit/query", auditor, {"where": {"principal": JOB.principal.name}})
    assert [row["kind"] for row in rows] == ["approval_requested"]
    _, told = await rig.call("GET", "/v1/audit/tail?count=2", auditor)
    assert told["events"] == rig.audit()[-2:]
    _, more = await rig.call("GET", f"/v1/audit/tail?after={told['next']}", auditor)
    assert more == {"events": [], "next": told["next"]}
    assert (await rig.call("POST", "/v1/audit/query", rig.token("vera", "viewers"), {}))[0] == 403
    status, told = await rig.call("POST", "/v1/audit/query", auditor, {"wrote": "t:x"})
    assert (status, told["detail"]) == (400, "'t:x' is not topic:partition:first-last")


async def test_the_log_says_that_the_node_serves_what_and_by_which_policy(tmp_path: Path) -> None:
    rig = ControlRig(tmp_path)

    def serving() -> list[dict[str, Any]]:
        return [line for line in map(json.loads, rig.log.getvalue().splitlines()) if line["event"] == "serving"]

    async with running(rig):
        assert serving() == []
        async with ScriptedWorker(rig):
            (line,) = await until(serving)
            told = ("listener", "address", "cluster", "mode", "policy_version", "count")
            assert {key: line[key] for key in told} == {
                "listener": "public", "address": f"127.0.0.1:{rig.listener}", "cluster": "prod", "mode": "enforce",
                "policy_version": rig.node.reloader.loaded.policy.version, "count": 1}

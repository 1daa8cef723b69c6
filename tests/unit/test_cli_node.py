"""Commands against a running node: what they print, as whom they act, and their exit codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from kproxy.cli import audit, requests, sessions, status
from kproxy.cli.audit import EVENTS
from kproxy.cli.node import NodeRefused, parse_duration, parse_moment, read_token, say_time, show_table
from kproxy.model.messages import SessionView
from tests.support.control_rig import POLICY, ControlRig, ScriptedWorker, running, session, until

COLUMNS = {"id": lambda row: row[0], "what it was": lambda row: row[1], "reason": lambda row: row[2]}


@pytest.mark.parametrize(("width", "printed"), [
    (60, "id     what it was   reason\nreq-1  written over  at length\nreq-2  read\n"),
    (20, "id           req-1\nwhat it was  written over\nreason       at length\n\nid           req-2\n"
         "what it was  read\n\n"),
])
def test_a_terminal_that_is_too_narrow_for_rows_gets_blocks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, printed: str,
) -> None:
    monkeypatch.setattr("kproxy.cli.node.console", lambda: Console(width=width, highlight=False, markup=False))
    show_table([("req-1", "written over", "at length"), ("req-2", "read", "")], COLUMNS, "nothing")
    assert "\n".join(line.rstrip() for line in capsys.readouterr().out.split("\n")) == printed
    show_table([], COLUMNS, "nothing")
    assert capsys.readouterr().out == "nothing\n"


app = typer.Typer()
for group in (audit, requests, sessions, status):
    group.register(app)


class Shell:
    """Runs commands beside the node's event loop, with or without somebody's token."""

    def __init__(self, rig: ControlRig) -> None:
        self.rig = rig

    async def run(self, *words: str, token: str = "", where: tuple[str, ...] = ()) -> tuple[int, str]:
        """Exit code and output; of a refusal its one line."""
        more = list(where or ("--config", str(self.rig.config)))
        if token:
            file = self.rig.folder / "token"
            file.write_text(token + "\n")
            more += ["--token-file", str(file)]
        result = await asyncio.to_thread(CliRunner(env={"COLUMNS": "400"}).invoke, app, [*words, *more])
        if isinstance(result.exception, NodeRefused):
            assert "\n" not in str(result.exception)
            return 1, str(result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    async def ask(self, *words: str, token: str = "") -> Any:
        code, output = await self.run(*words, "--json", token=token)
        assert code == 0, output
        return json.loads(output)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[ControlRig]:
    async with running(ControlRig(tmp_path)) as one:
        yield one


@pytest.fixture
def shell(rig: ControlRig) -> Shell:
    return Shell(rig)


@pytest.fixture
async def worker(rig: ControlRig) -> AsyncIterator[ScriptedWorker]:
    async with ScriptedWorker(rig) as one:
        await one.ask_approval()
        yield one


async def test_the_way_of_a_request_from_list_to_revoke(shell: Shell, rig: ControlRig, worker: ScriptedWorker) -> None:
    code, output = await shell.run("requests", "list")
    assert code == 0
    assert output.splitlines()[1].split()[:3] == ["req-0001", "pending", "corp:fraud-job"]
    rita = rig.token("rita", "ml-risk")
    (row,) = await shell.ask("requests", "list", "--state", "pending", token=rita)
    assert (row["id"], row["model"], row["launcher"]) == ("req-0001", "models:/fraud/4", "alice")
    code, output = await shell.run("approve", "req-0001", "--for", "10m", "--reason", "evaluated", token=rita)
    assert (code, output[:32]) == (0, "req-0001 is approved until 20" + output[29:32]) and "the most" not in output
    assert worker.snapshots[-1].grants[0].until - worker.snapshots[-1].grants[0].since == 600
    (grant,) = await shell.ask("grants", "list")
    assert (grant["id"], grant["approvers"][0]["subject"]) == ("grant-0001", "rita")
    code, output = await shell.run("requests", "show", "req-0001")
    assert code == 0 and "evaluated" in output and "corp:rita" in output
    assert await shell.run("revoke", "grant-0001", "--reason", "incident") == (0, "grant-0001 is revoked\n")
    assert worker.snapshots[-1].grants == ()
    assert await shell.run("grants", "list") == (0, "no grants\n")


async def test_one_does_not_approve_oneself_and_the_line_says_so(shell: Shell, rig: ControlRig,
                                                                 worker: ScriptedWorker) -> None:
    own = rig.token("fraud-job", "ml-risk")
    assert await shell.run("approve", "req-0001", token=own) == (
        1, "you asked for req-0001 yourself; somebody else must review it")
    socket = ("--socket", str(rig.runtime / "operator.sock"))
    assert await shell.run("approve", "req-0001", where=socket, token=own) == (
        1, "you asked for req-0001 yourself; somebody else must review it")
    assert await shell.run("approve", "req-0001", where=socket) == (
        1, "the operator socket does not say who you are: review with a token of your own")
    assert (await shell.ask("requests", "show", "req-0001"))["state"] == "pending"


async def test_an_approval_for_longer_than_the_rule_allows_says_so(shell: Shell, rig: ControlRig,
                                                                  worker: ScriptedWorker) -> None:
    code, output = await shell.run("approve", "req-0001", "--for", "9999h", token=rig.token("rita", "ml-risk"))
    assert code == 0 and output.endswith(", the most that the rule or another approver allows\n")


async def test_deny_and_cancel(shell: Shell, rig: ControlRig, worker: ScriptedWorker) -> None:
    rita = rig.token("rita", "ml-risk")
    assert await shell.run("deny", "req-0001", "--reason", "not evaluated", token=rita) == (0, "req-0001 is denied\n")
    assert await shell.run("deny", "req-0001", token=rita) == (1, "request req-0001 is denied and stays so")
    job = rig.token("fraud-job", "fraud-scoring", model_uri="models:/fraud/9")
    code, output = await shell.run("requests", "create", "--operation", "write", "--topic", "scores.b", token=job)
    assert (code, output) == (0, "req-0002 is pending\n")
    assert await shell.run("requests", "cancel", "req-0002", token=job) == (0, "req-0002 is cancelled\n")


async def test_a_quorum_says_how_many_are_missing(tmp_path: Path) -> None:
    rig = ControlRig(tmp_path, POLICY.replace("quorum: 1", "quorum: 2"))
    async with running(rig), ScriptedWorker(rig) as worker:
        await worker.ask_approval()
        code, output = await Shell(rig).run("approve", "req-0001", token=rig.token("rita", "ml-risk"))
        assert (code, output) == (0, "req-0001 is pending: 1 more approval is needed\n")


async def test_a_request_says_how_many_must_approve_it_and_who_may(shell: Shell, rig: ControlRig,
                                                                   worker: ScriptedWorker) -> None:
    code, output = await shell.run("requests", "list")
    assert code == 0 and "0 of 1, ml-risk" in output
    (row,) = await shell.ask("requests", "list")
    assert (row["approvals"], row["quorum"], row["approver_role"]) == (0, 1, "ml-risk")
    rig.policy.write_text("roles: {}")
    await rig.node.reloader.reload()
    code, output = await shell.run("requests", "show", "req-0001")
    assert code == 0 and "0, its rule is gone" in output


async def test_status_shows_what_is_in_force_and_what_is_not(shell: Shell, rig: ControlRig,
                                                             worker: ScriptedWorker) -> None:
    await until(lambda: rig.node.links.is_ready())
    code, output = await shell.run("status")
    version = rig.node.reloader.loaded.policy.version
    assert code == 0
    assert f"policy {version[:12]} in force as epoch {rig.node.publisher.epoch}" in output
    assert "approvals: 1 pending, 0 granted" in output
    lines = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    assert "enforcing" in lines["public"] and "OAUTHBEARER" in lines["public"]
    assert lines["0"].split()[1:4] == ["4000", str(rig.node.publisher.epoch), "in"]
    rig.policy.write_text("roles: 7")
    await rig.node.reloader.reload()
    code, output = await shell.run("status")
    assert "LAST RELOAD REFUSED" in output and f"{rig.policy}:1: roles" in output
    assert (await shell.ask("status"))["last_reload"]["good"] is False


async def test_status_says_which_workers_refuse_for_want_of_an_audit(shell: Shell, worker: ScriptedWorker) -> None:
    assert "REFUSING" not in (await shell.run("status"))[1]
    worker.values = {"kproxy_audit_refusing": [(("0",), 1)]}
    code, output = await shell.run("status")
    (line,) = [line for line in output.splitlines() if line.startswith("REFUSING")]
    assert code == 0 and line.startswith("REFUSING: worker 0 cannot audit what it would do: the audit spool")
    assert (await shell.ask("status"))["audit"]["refusing"] == [0]


async def test_status_says_when_a_broker_last_failed(shell: Shell, rig: ControlRig, worker: ScriptedWorker) -> None:
    worker.values = {"kproxy_broker_errors_total": [(("prod", "timeout"), 2)]}
    (told,) = (await shell.ask("status"))["upstreams"]
    assert (told["last_error"]["cause"], told["errors"]) == ("timeout", {"timeout": 2})
    at = told["last_error"]["at"]
    assert abs(datetime.fromisoformat(at).timestamp() - rig.now()) < 60
    (told,) = (await shell.ask("status"))["upstreams"]
    assert told["last_error"]["at"] == at  # It did not fail again.
    assert "timeout at 20" in (await shell.run("status"))[1]


async def test_observing_is_said_out_loud(tmp_path: Path) -> None:
    rig = ControlRig(tmp_path, policy=POLICY)
    rig.content["policy"]["mode"] = "observe"
    rig.write_config()
    async with running(rig):
        assert "OBSERVING ONLY" in (await Shell(rig).run("status"))[1]


async def test_sessions_are_listed_shown_and_killed(shell: Shell, rig: ControlRig, worker: ScriptedWorker) -> None:
    evil = SessionView(**{**{name: getattr(session(2), name) for name in SessionView.__struct_fields__},
                          "client_id": "\x1b[2Jgone"})
    worker.sessions = [session(1), evil]
    code, output = await shell.run("sessions", "list")
    assert code == 0 and "\x1b" not in output and "\N{REPLACEMENT CHARACTER}[2Jgone" in output
    assert [row["id"] for row in await shell.ask("sessions", "list")] == ["0-1", "0-2"]
    code, output = await shell.run("sessions", "show", "0-1")
    assert "attested  launcher  alice" in output and "declared  owner     bob" in output
    assert "token     groups    fraud-scoring, night" in output
    assert f"node      ends      {say_time(session(1).expires_at)}" in output
    assert await shell.run("sessions", "kill", "0-1", "--reason", "test") == (0, "0-1 is closed\n")
    assert await shell.run("sessions", "kill", "0-1") == (1, "there is no session 0-1")


async def test_all_sessions_of_a_principal_are_killed_and_no_others(shell: Shell, rig: ControlRig,
                                                                     worker: ScriptedWorker) -> None:
    worker.sessions = [session(1), session(2, principal="corp:other"), session(3)]
    kill = ("sessions", "kill", "--principal", "corp:fraud-job", "--reason", "leaked")
    assert await shell.run(*kill) == (0, "closed 0-1, 0-3\n")
    assert [one.id for one in worker.sessions] == ["0-2"]
    lines = await until(lambda: (found := rig.audit("session_killed"))[1:] and found)
    assert [(line["session"], line["principal"], line["reason"]) for line in lines] == [
        ("0-1", "corp:fraud-job", "leaked"), ("0-3", "corp:fraud-job", "leaked")]
    assert await shell.run(*kill) == (0, "corp:fraud-job has no session\n")
    assert (await shell.run("sessions", "kill"))[0] == (await shell.run(*kill, "0-2"))[0] == 2


async def test_json_has_times_that_others_can_read_and_nothing_internal(shell: Shell, rig: ControlRig,
                                                                        worker: ScriptedWorker) -> None:
    (row,) = await shell.ask("requests", "list")
    told = rig.node.desk.book.request("req-0001")
    assert datetime.fromisoformat(row["expires_at"]).timestamp() == pytest.approx(told.expires_at, abs=0.001)
    assert row["created_at"].endswith("+00:00") and "key" not in row
    declared = {"key": "k", "at": "home"}
    worker.sessions = [msgspec.structs.replace(session(1), declared=declared)]
    (row,) = await shell.ask("sessions", "list")
    assert (row["connected_at"], row["declared"]) == ("2027-01-15T08:00:01.000+00:00", declared)


async def test_the_audit_is_queried_over_the_node_and_from_files(shell: Shell, rig: ControlRig,
                                                                 worker: ScriptedWorker) -> None:
    await until(lambda: rig.audit("approval_requested"))
    rows = await shell.ask("audit", "query", "--principal", "corp:fraud-job", token=rig.token("theo", "auditors"))
    assert [row["kind"] for row in rows] == ["approval_requested"]
    file = str(rig.state / "audit" / "audit.jsonl")
    assert await shell.ask("audit", "query", "--principal", "corp:fraud-job", "--file", file) == rows
    assert await shell.ask("audit", "query", "--since", "1m", "--kind", "approval_requested") == rows
    assert await shell.ask("audit", "query", "--until", "1m") == []
    code, output = await shell.run("audit", "query", "--kind", "approval_requested")
    assert code == 0 and "write scores.fraud" in output and "new-model-version" in output
    assert await shell.run("audit", "query", "--launched", "nobody") == (0, "nothing in the audit answers this\n")
    code, output = await shell.run("audit", "tail", "-n", "1")
    assert code == 0 and output.splitlines()[-1].split("  ")[1] == "approval_requested"
    assert await shell.run("audit", "query", token=rig.token("vera", "viewers")) == (
        1, "to see the audit takes node role auditor, which corp:vera does not have")


def test_what_an_audit_line_is_about_has_its_place() -> None:
    what = EVENTS["what"]
    assert what({"kind": "guard_hit", "api": "Produce", "topic": "secrets", "details": {"partition": 0, "offset": 1}}
                ) == "Produce secrets p0@1"
    assert what({"kind": "denied", "operation": "write", "name": "orders"}) == "write orders"
    assert what({"kind": "node_started", "node": "a", "worker": 1}) == "a worker 1"
    assert what({"kind": "node_started", "node": "a"}) == "a"


def test_the_table_of_the_audit_says_by_whom() -> None:
    by = EVENTS["by"]
    assert by({"kind": "approval_reviewed", "principal": "dev:job", "actor": "dev:rita"}) == "dev:rita"
    assert by({"kind": "restart_asked", "actor": "dev:rita"}) == ""  # The column before it names her already.
    assert EVENTS["principal"]({"kind": "restart_asked", "actor": "dev:rita"}) == "dev:rita"
    assert by({"kind": "denied", "principal": "dev:job"}) == ""


async def test_a_refused_login_is_found_by_the_number_its_client_was_shown(shell: Shell, rig: ControlRig) -> None:
    for _ in range(2):
        assert (await rig.call("GET", "/v1/status", "not.a.token"))[0] == 401
    first, second = await until(lambda: (found := rig.audit("login_failed"))[1:] and found)
    assert await shell.ask("audit", "query", "--error-id", second["error_id"]) == [second]
    code, output = await shell.run("audit", "query", "--kind", "login_failed")
    assert code == 0
    assert [first["error_id"] in line for line in output.splitlines()[1:]] == [True, False]
    assert all("127.0.0.1" in line for line in output.splitlines()[1:])


async def test_what_would_find_nothing_by_its_spelling_is_said(shell: Shell) -> None:
    code, output = await shell.run("audit", "query", "--kind", "nonsense")
    assert code == 2 and "'nonsense' is no kind of line" in output and "login_failed" in output
    assert (await shell.run("audit", "query", "--emitted-to", "ana"))[1] == (
        "nothing in the audit answers this; a principal is ISSUER:SUBJECT, as corp:ana\n")
    assert (await shell.run("audit", "query", "--principal", "corp:ana"))[1] == "nothing in the audit answers this\n"


async def test_a_folder_without_a_node_is_told_apart(shell: Shell, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr("kproxy.cli.node.DEFAULT_SOCKET", tmp_path / "operator.sock")
    assert await shell.run("status", where=("--config", "kproxy.yaml")) == (
        1, f"there is no kproxy.yaml in this folder, and no kproxy answers at {tmp_path / 'operator.sock'}: "
           "name a node with --config, --socket or --url")


async def test_wrong_usage_is_2_and_a_node_that_is_away_is_1(shell: Shell, rig: ControlRig, tmp_path: Path) -> None:
    assert (await shell.run("approve", "req-1", "--for", "soon"))[0] == 2
    assert (await shell.run("audit", "query", "--since", "yesterday"))[0] == 2
    assert (await shell.run("approve"))[0] == 2
    away = ("--socket", str(tmp_path / "nowhere.sock"))
    code, line = await shell.run("status", where=away)
    assert (code, line) == (1, f"no kproxy answers at {tmp_path / 'nowhere.sock'}: No such file or directory")
    code, line = await shell.run("status", where=("--url", f"http://127.0.0.1:{rig.metrics}"))
    assert (code, line) == (1, f"http://127.0.0.1:{rig.metrics} is not kproxy's admin API (HTTP 404)")
    code, line = await shell.run("status", where=("--config", str(tmp_path / "none.yaml")))
    assert (code, line) == (1, f"{tmp_path / 'none.yaml'} cannot be read: No such file or directory")


async def test_a_token_speaks_over_tcp_and_nobody_over_the_socket(shell: Shell, rig: ControlRig,
                                                                  worker: ScriptedWorker) -> None:
    """The same command: the socket's own user may see requests; a token's owner without a role may not."""
    assert len(await shell.ask("requests", "list")) == 1
    assert await shell.ask("requests", "list", token=rig.token("nora")) == []


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("2h", 7200), ("1h30m", 5400), ("1d", 86400),
                                               ("250ms", 0.25)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "2 h", "-1h", "1y", "h"])
def test_what_is_no_duration_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_duration(text)


def test_moments() -> None:
    assert parse_moment("2h", 10_000.0) == 2800.0
    assert parse_moment("2027-01-15T08:00:00+00:00", 0.0) == 1_800_000_000.0
    with pytest.raises(typer.BadParameter):
        parse_moment("soon", 0.0)


def test_a_token_is_read_from_its_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text(" abc\n")
    monkeypatch.setenv("KPROXY_TOKEN", "from-environment\n")
    assert (read_token(file), read_token(None)) == ("abc", "from-environment")
    for content in (b"", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(NodeRefused):
            read_token(file)
    with pytest.raises(NodeRefused, match="no token can be read from"):
        read_token(tmp_path / "none")

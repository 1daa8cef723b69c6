"""Who may approve what, and that every step is kept: each rule of four eyes is a test of its own."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from kproxy.control.approval_events import audit_of, request_id_of, unpack
from kproxy.control.approvals import MOST_PENDING_OF_ONE, Approvals, Approver
from kproxy.control.event_log import EventLog
from kproxy.control.refusals import Refused
from kproxy.model.access import ApprovalWanted, Client, Facts, Principal
from kproxy.model.approval import Person, Review
from kproxy.model.policy import Approval

NOW = 1_800_000_000.0
RULE = Approval("new-model-version", ("write",), ("scores.*",), "ml-risk", quorum=2, request_ttl=3600.0,
                max_duration=8 * 3600.0)
ONE = Approval("one", ("write",), ("scores.*",), "ml-risk", max_duration=8 * 3600.0)
JOB = Facts(
    principal=Principal("corp:fraud-job", "corp", "fraud-job", ("fraud-scoring",)), mechanism="OAUTHBEARER",
    listener="public", attested={"launcher": "alice", "run": "run-7", "model": "models:/fraud/4"},
    declared={"owner": "bob"}, client=Client("serving-1", "librdkafka", "10.0.0.9:4411"))
WANTED = ApprovalWanted("new-model-version", "write", "topic", "scores.fraud", "models:/fraud/4")


def person(name: str, issuer: str = "corp") -> Person:
    return Person(issuer, name, f"{issuer}:{name}")


def approver(name: str, *roles: str, launcher: str = "", issuer: str = "corp") -> Approver:
    return Approver(person(name, issuer), roles or ("ml-risk",), launcher)


BOB, CAROL = approver("bob"), approver("carol")


class Book:
    """Approvals over a log in a file, with numbered ids."""

    def __init__(self, path: Path) -> None:
        self.path = path
        numbers = itertools.count(1)
        self.next_id = lambda: f"{next(numbers):04d}"
        self.reopen()

    def reopen(self) -> None:
        self.log = EventLog(self.path, born=1_800_000_000_000)
        self.approvals = Approvals(self.log, self.next_id)

    def open(self, facts: Facts = JOB, wanted: ApprovalWanted = WANTED, rule: Approval = RULE, now: float = NOW,
             reason: str = "") -> str:
        return self.approvals.open(facts, wanted, rule, policy_version="v1", now=now, reason=reason).id

    def review(self, who: Approver, decision: str = "approve", request_id: str = "req-0001",
               rule: Approval | None = RULE, now: float = NOW + 10, reason: str = "", duration: float = 0.0) -> str:
        review = Review(who.person, decision, now, reason, duration)
        return self.approvals.review(request_id, who, review, rule, policy_version="v1").state

    def steps(self) -> list[str]:
        return [type(unpack(entry.body)).__name__ for entry in self.log.read()]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    one = Book(tmp_path / "events.db")
    yield one
    one.log.close()


def refusal(call: object, *args: object, **more: object) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        call(*args, **more)  # type: ignore[operator]
    return caught.value.status, str(caught.value)


def test_the_same_access_of_the_same_principal_is_the_same_request(book: Book) -> None:
    first = book.open()
    assert book.open(now=NOW + 60) == first == "req-0001"
    other = ApprovalWanted("new-model-version", "write", "topic", "scores.fraud", "models:/fraud/5")
    assert book.open(wanted=other) == "req-0002"
    request = book.approvals.request(first)
    assert (request.principal, request.launcher, request.run, request.model) == (
        "corp:fraud-job", "alice", "run-7", "models:/fraud/4")
    assert (request.created_at, request.expires_at, request.state) == (NOW, NOW + 3600, "pending")
    assert book.steps() == ["Opened", "Opened"]


def test_a_quorum_of_two_people_grants_for_the_shortest_time_any_of_them_gave(book: Book) -> None:
    book.open()
    assert book.review(BOB, duration=7200) == "pending"
    assert book.approvals.grants(NOW + 11) == ()
    assert book.review(CAROL, now=NOW + 20, duration=3600) == "approved"
    (grant,) = book.approvals.grants(NOW + 21)
    assert (grant.id, grant.since, grant.until) == ("grant-0001", NOW + 20, NOW + 20 + 3600)
    assert (grant.principal, grant.model, grant.name) == ("corp:fraud-job", "models:/fraud/4", "scores.fraud")
    assert grant.approvers == (BOB.person, CAROL.person)
    assert book.steps() == ["Opened", "Reviewed", "Reviewed", "Approved"]


@pytest.mark.parametrize(("asked", "granted"), [(0.0, 8 * 3600.0), (900.0, 900.0), (90 * 3600.0, 8 * 3600.0)])
def test_the_rule_bounds_how_long_a_grant_lasts(book: Book, asked: float, granted: float) -> None:
    book.open(rule=ONE)
    book.review(BOB, rule=ONE, duration=asked)
    (grant,) = book.approvals.grants(NOW + 11)
    assert grant.until - grant.since == granted


def test_one_person_counts_once(book: Book) -> None:
    book.open()
    book.review(BOB)
    status, line = refusal(book.review, BOB, now=NOW + 20)
    assert (status, line) == (409, "you have approved req-0001 already; 2 different people are needed")
    assert book.approvals.request("req-0001").state == "pending"


def test_the_requester_does_not_approve_his_own_request(book: Book) -> None:
    book.open()
    status, line = refusal(book.review, approver("fraud-job"))
    assert (status, line) == (403, "you asked for req-0001 yourself; somebody else must review it")


def test_the_same_subject_at_another_issuer_is_another_person(book: Book) -> None:
    book.open(rule=ONE)
    assert book.review(approver("fraud-job", issuer="partner"), rule=ONE) == "approved"


@pytest.mark.parametrize("who", [approver("alice"), approver("Alice"), approver("deploy-bot", launcher="alice")])
def test_whoever_launched_the_requester_does_not_approve(book: Book, who: Approver) -> None:
    book.open()
    assert refusal(book.review, who) == (403, "you launched what asks for req-0001; somebody else must review it")


def test_what_the_requester_launched_does_not_approve(book: Book) -> None:
    book.open()
    status, line = refusal(book.review, approver("bot", launcher="fraud-job"))
    assert (status, line) == (403, "req-0001 was asked for by whoever launched you; somebody else must review it")


def test_the_operator_socket_does_not_approve(book: Book) -> None:
    book.open()
    root = Approver(Person("operator", "0", "root"), ("ml-risk",))
    assert refusal(book.review, root) == (
        403, "the operator socket does not say who you are: review with a token of your own")


def test_only_the_approvers_role_reviews(book: Book) -> None:
    book.open()
    for decision in ("approve", "deny"):
        assert refusal(book.review, approver("bob", "privacy-officer"), decision) == (
            403, "rule new-model-version is reviewed by role ml-risk, which you do not have")


def test_one_denial_ends_it_for_good(book: Book) -> None:
    book.open()
    book.review(BOB)
    assert book.review(CAROL, "deny", reason="not  evaluated\n yet") == "denied"
    assert book.approvals.request("req-0001").reviews[-1].reason == "not evaluated yet"
    assert refusal(book.review, approver("dave")) == (409, "request req-0001 is denied and stays so")
    assert book.approvals.grants(NOW + 11) == ()
    assert book.steps() == ["Opened", "Reviewed", "Reviewed", "Closed"]


def test_an_approver_may_think_again_and_deny(book: Book) -> None:
    book.open()
    book.review(BOB)
    assert book.review(BOB, "deny", now=NOW + 12) == "denied"


def test_retrying_after_a_denial_opens_nothing_until_the_request_would_have_timed_out(book: Book) -> None:
    book.open()
    book.review(BOB, "deny")
    assert book.open(now=NOW + 3599) == "req-0001"
    assert book.open(now=NOW + 3600) == "req-0002"


def test_a_pending_request_times_out(book: Book) -> None:
    book.open()
    assert book.approvals.expire(NOW + 3599.9) is False
    assert refusal(book.review, BOB, now=NOW + 3600) == (409, "request req-0001 is timed_out and stays so")
    assert book.open(now=NOW + 3601) == "req-0002"


def test_a_grant_ends_on_time(book: Book) -> None:
    book.open(rule=ONE)
    book.review(BOB, rule=ONE, duration=60)
    assert book.approvals.expire(NOW + 69.9) is False
    assert len(book.approvals.grants(NOW + 69.9)) == 1
    assert book.approvals.grants(NOW + 70) == ()
    assert book.approvals.expire(NOW + 70) is True
    assert book.approvals.request("req-0001").state == "expired"
    assert book.open(now=NOW + 71) == "req-0002"


@pytest.mark.parametrize("either", ["grant-0001", "req-0001"])
def test_a_grant_is_revoked_by_its_id_or_its_requests(book: Book, either: str) -> None:
    book.open(rule=ONE)
    book.review(BOB, rule=ONE)
    assert book.approvals.revoke(either, Person("operator", "0"), NOW + 20, "incident").id == "grant-0001"
    assert book.approvals.grants(NOW + 20) == ()
    assert book.approvals.request("req-0001").state == "revoked"
    assert refusal(book.approvals.revoke, either, BOB.person, NOW + 21) == (404, f"there is no grant {either} in force")


def test_a_required_reason_comes_from_the_requester_before_anybody_approves(book: Book) -> None:
    rule = Approval("one", ("write",), ("scores.*",), "ml-risk", reason="required")
    book.open(rule=rule)
    assert refusal(book.review, BOB, rule=rule) == (
        409, "rule one requires a reason, and the requester of req-0001 has given none")
    assert refusal(book.approvals.give_reason, "req-0001", BOB.person, "why not", NOW + 1)[0] == 403
    requester = Person("corp", "fraud-job")
    book.approvals.give_reason("req-0001", requester, "RISK-12: retrained", NOW + 2)
    assert book.approvals.request("req-0001").reason == "RISK-12: retrained"
    assert book.review(BOB, rule=rule) == "approved"


def test_a_request_whose_rule_is_gone_is_not_approved(book: Book) -> None:
    book.open()
    assert refusal(book.review, BOB, rule=None) == (
        409, "rule new-model-version of request req-0001 is no longer in the policy")


def test_a_client_cannot_open_requests_without_end(book: Book) -> None:
    for number in range(MOST_PENDING_OF_ONE):
        book.open(wanted=ApprovalWanted("new-model-version", "write", "topic", f"scores.{number}"))
    more = ApprovalWanted("new-model-version", "write", "topic", "scores.more")
    assert refusal(book.open, wanted=more) == (503, "corp:fraud-job has 100 pending requests")
    assert len(book.approvals.requests(["pending"])) == MOST_PENDING_OF_ONE


def test_everything_survives_a_restart(book: Book) -> None:
    book.open()
    book.open(wanted=ApprovalWanted("new-model-version", "write", "topic", "scores.b"))
    book.review(BOB)
    book.review(CAROL)
    before = book.approvals.requests()
    grants = book.approvals.grants(NOW + 11)
    book.log.close()
    book.reopen()
    assert book.approvals.requests() == before
    assert book.approvals.grants(NOW + 11) == grants
    assert book.approvals.counts(NOW + 11) == {"pending": 1, "granted": 1}
    assert book.open(now=NOW + 12) == "req-0001"


def test_of_many_decisions_exactly_one_is_the_last(book: Book) -> None:
    """Whatever order approvals and denials arrive in, the log has one closing step, and nothing after it."""
    people = [approver(name) for name in "bcdef"]
    for order in itertools.permutations(("approve", "approve", "deny", "approve", "deny")):
        request_id = book.open(facts=JOB, wanted=ApprovalWanted("r", "write", "topic", f"scores.{book.log.last()}"))
        outcomes = []
        for who, decision in zip(people, order, strict=True):
            try:
                outcomes.append(book.review(who, decision, request_id))
            except Refused as refused:
                assert refused.status == 409
        assert outcomes == (["denied"] if order[0] == "deny" else
                            ["pending", "denied"] if order[1] == "deny" else ["pending", "approved"])
        steps = [unpack(entry.body) for entry in book.log.read()]
        ends = [step for step in steps if request_id_of(step) == request_id
                and type(step).__name__ in ("Closed", "Approved")]
        assert len(ends) == 1
        book.approvals.expire(NOW + 11)


def test_the_log_cannot_be_changed_by_hand(book: Book) -> None:
    book.open()
    other = sqlite3.connect(book.path)
    for statement in ("DELETE FROM events", "UPDATE events SET body = x'00'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(statement)
    other.close()
    assert book.path.stat().st_mode & 0o777 == 0o600


def test_steps_of_one_decision_are_all_written_or_none(book: Book) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        book.log.append([b"{}", None])  # type: ignore[list-item]
    assert book.log.last() == 0


def test_every_step_is_told_to_the_audit_with_a_stable_id(book: Book) -> None:
    book.open(rule=ONE, reason="RISK-12")
    book.review(BOB, rule=ONE, duration=60, reason="evaluated")
    book.approvals.revoke("req-0001", Person("operator", "0", "root"), NOW + 20, "incident")
    told = [audit_of(entry, book.approvals.request("req-0001"), node="edge-1", born=book.log.born)
            for entry in book.log.read()]
    assert [(one.id, one.kind, one.decision, one.actor, one.reason) for one in told] == [
        ("edge-1.approvals.1800000000000.1", "approval_requested", "pending", "", "RISK-12"),
        ("edge-1.approvals.1800000000000.2", "approval_reviewed", "approve", "corp:bob", "evaluated"),
        ("edge-1.approvals.1800000000000.3", "grant_started", "approved", "", ""),
        ("edge-1.approvals.1800000000000.4", "grant_ended", "revoked", "operator:0 (root)", "incident"),
    ]
    assert {one.request_id for one in told} == {"req-0001"}
    assert told[0].address == "10.0.0.9:4411" and told[0].attested == JOB.attested and told[0].declared == JOB.declared
    assert told[2].details == {"until": NOW + 70, "approvers": ["corp:bob"]}
    assert all((one.principal, one.rule, one.name) == ("corp:fraud-job", "one", "scores.fraud") for one in told)

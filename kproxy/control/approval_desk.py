"""Where workers and people meet over an approval: the book, the policy in force, and the publication of grants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from kproxy.control.approvals import Approvals
from kproxy.control.callers import Caller
from kproxy.control.loading import Loaded
from kproxy.control.refusals import BAD_REQUEST, CONFLICT, FORBIDDEN, UNKNOWN, Refused
from kproxy.model.access import Access, ApprovalWanted, Facts
from kproxy.model.approval import REQUEST_STATES, ApprovalRequest, Grant, Review
from kproxy.model.messages import ApprovalAnswer, ApprovalAsked

log = structlog.get_logger("kproxy.control")


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody asks approval for before, or instead of, trying it."""

    operation: str
    name: str
    resource: str = "topic"
    reason: str = ""


class ApprovalDesk:
    """``publish`` puts the grants of now in force and says whether all workers confirmed; ``stir`` has the audit told
    soon. Both are called after the log has the step."""

    def __init__(self, book: Approvals, loaded: Callable[[], Loaded], now: Callable[[], float],
                 publish: Callable[[], Awaitable[bool]], stir: Callable[[], None]) -> None:
        self.book = book
        self._loaded = loaded
        self._now = now
        self._publish = publish
        self._stir = stir

    def answer(self, asked: ApprovalAsked) -> ApprovalAnswer:
        """What a worker is told of an access that waits for people."""
        try:
            request = self._open(asked.facts, asked.wanted, "")
        except Refused as refused:
            return ApprovalAnswer(asked.ask, "", "", str(refused))
        except OSError as error:
            log.error("approval_not_written", error=error.strerror)
            return ApprovalAnswer(asked.ask, "", "", "the event log cannot be written")
        return ApprovalAnswer(asked.ask, request.id, request.state)

    def ask(self, caller: Caller, wish: Wish) -> ApprovalRequest:
        """Opens a request in the caller's own name, or gives the reason of the one that waits. Raises Refused where the
        policy does not ask for an approval."""
        if caller.facts is None:
            raise Refused(FORBIDDEN, "a request is made in the name of a token: use --token-file or KPROXY_TOKEN")
        now = self._now()
        access = Access(wish.operation, wish.resource, wish.name)  # type: ignore[arg-type]
        verdict = self._loaded().decider.decide(
            caller.facts, access, grants=self.book.grants(now), mode="enforce", now=now)
        if verdict.effect == "allow":
            raise Refused(CONFLICT, f"{wish.operation} on {wish.name} needs no approval")
        if verdict.wanted is None:
            raise Refused(FORBIDDEN, f"{wish.operation} on {wish.name} is denied and no approval can allow it")
        request = self._open(caller.facts, verdict.wanted, wish.reason)
        if wish.reason.strip() and request.state == "pending" and not request.reason:
            request = self.book.give_reason(request.id, caller.person, wish.reason, now)
            self._stir()
        return request

    def requests(self, caller: Caller, states: tuple[str, ...] = ()) -> list[ApprovalRequest]:
        """Those the caller may see: all with a role for it, else one's own and those one may review. Raises Refused for
        a state that there is not."""
        for state in states:
            if state not in REQUEST_STATES:
                raise Refused(BAD_REQUEST, f"{state} is no state of a request; there are {', '.join(REQUEST_STATES)}")
        return [one for one in self.book.requests(states) if self._sees(caller, one)]

    def request(self, caller: Caller, request_id: str) -> ApprovalRequest:
        found = self.book.request(request_id)
        if not self._sees(caller, found):
            raise Refused(UNKNOWN, f"there is no request {request_id}")
        return found

    def view(self, request: ApprovalRequest) -> dict[str, Any]:
        """The request with how many have approved it, how many must, and the role they must have. The last two are
        None once its rule has left the policy: nobody can approve it any more."""
        rule = self._loaded().approval(request.rule)
        return {**msgspec.structs.asdict(request), "approvals": _approvals(request),
                "quorum": rule.quorum if rule is not None else None,
                "approver_role": rule.approver_role if rule is not None else None}

    async def review(self, caller: Caller, request_id: str, decision: str, reason: str,
                     duration: float) -> dict[str, Any]:
        """Approves or denies; what came of it, and whether the workers already decide by it."""
        if decision not in ("approve", "deny"):
            raise Refused(BAD_REQUEST, "a review approves or denies")
        request = self.request(caller, request_id)
        review = Review(caller.person, decision, self._now(), reason, duration)  # type: ignore[arg-type]
        rule = self._loaded().approval(request.rule)
        request = self.book.review(request_id, caller.approver(), review, rule,
                                   policy_version=self._loaded().policy.version)
        self._stir()
        in_force = await self._publish() if request.state == "approved" else True
        return {"request": request, "grant": self.book.grant_of(request_id), "in_force": in_force,
                "approvals_needed": max(0, rule.quorum - _approvals(request)) if rule is not None else 0}

    def cancel(self, caller: Caller, request_id: str, reason: str) -> ApprovalRequest:
        """By the requester, or by an operator."""
        request = self.request(caller, request_id)
        if not self._is_own(caller, request):
            caller.need("cancel requests")
        cancelled = self.book.cancel(request_id, caller.person, self._now(), reason)
        self._stir()
        return cancelled

    async def revoke(self, caller: Caller, either_id: str, reason: str) -> dict[str, Any]:
        """By an operator, or by anybody who could have approved it."""
        try:
            request = self.book.request("req-" + either_id.removeprefix("grant-").removeprefix("req-"))
        except Refused:
            raise Refused(UNKNOWN, f"there is no grant or request {either_id}") from None
        rule = self._loaded().approval(request.rule)
        if rule is None or rule.approver_role not in caller.policy_roles:
            caller.need("revoke grants")
        grant = self.book.revoke(either_id, caller.person, self._now(), reason)
        self._stir()
        return {"grant": grant, "in_force": await self._publish()}

    def grants(self, caller: Caller) -> list[Grant]:
        own = caller.facts.principal.name if caller.facts is not None else ""
        return [grant for grant in self.book.grants(self._now())
                if caller.may("see requests") or grant.principal == own or self._reviews(caller, grant.rule)]

    def _open(self, facts: Facts, wanted: ApprovalWanted, reason: str) -> ApprovalRequest:
        loaded = self._loaded()
        rule = loaded.approval(wanted.rule)
        if rule is None:
            raise Refused(CONFLICT, f"rule {wanted.rule} is no longer in the policy")
        request = self.book.open(facts, wanted, rule, policy_version=loaded.policy.version, now=self._now(),
                                 reason=reason)
        self._stir()
        return request

    def _sees(self, caller: Caller, request: ApprovalRequest) -> bool:
        return caller.may("see requests") or self._is_own(caller, request) or self._reviews(caller, request.rule)

    def _is_own(self, caller: Caller, request: ApprovalRequest) -> bool:
        by, requester = caller.person, request.requester
        return (by.issuer, by.subject) == (requester.issuer, requester.subject)

    def _reviews(self, caller: Caller, rule_name: str) -> bool:
        rule = self._loaded().approval(rule_name)
        return rule is not None and rule.approver_role in caller.policy_roles


def _approvals(request: ApprovalRequest) -> int:
    return len({(one.by.issuer, one.by.subject) for one in request.reviews if one.decision == "approve"})

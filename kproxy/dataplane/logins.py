"""From a SASL message to the facts of a session, or a refusal whose reason stays on this side."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from kproxy.dataplane.control_link import ControlLink
from kproxy.dataplane.in_force import SnapshotFile
from kproxy.dataplane.journal import Journal
from kproxy.errors import ControlUnavailable, TokenRefused
from kproxy.identity import sasl
from kproxy.identity.jwt import ValidatedToken, validate, validate_twice
from kproxy.identity.refusals import ACCEPTED, KeyMissing
from kproxy.logs import PerMinute
from kproxy.model.access import Client, Facts
from kproxy.model.messages import KeyWanted
from kproxy.model.settings import Issuer, Listener

log = structlog.get_logger("kproxy.login")

#: How long a login waits for the control process to fetch an issuer's keys; below every client's own login timeout.
KEY_SECONDS = 8.0
#: Refused logins that one worker tells the audit and the log of within a minute; the metrics count each. A full audit
#: refuses produces, so nobody may fill it with these.
MOST_REFUSALS = 600


class Logins:
    """``issuers`` by their exact ``iss``; ``longest_session`` in seconds; ``on_checked(issuer alias, result)``
    counts."""

    def __init__(self, issuers: Mapping[str, Issuer], file: SnapshotFile, link: ControlLink, journal: Journal, *,
                 longest_session: float, now: Callable[[], float], error_id: Callable[[], str],
                 on_checked: Callable[[str, str], None]) -> None:
        self._issuers = issuers
        self._file = file
        self._link = link
        self._journal = journal
        self._longest_session = longest_session
        self._now = now
        self._error_id = error_id
        self._on_checked = on_checked
        self._told = PerMinute(MOST_REFUSALS, self._tell_rest)

    async def check(self, mechanism: str, payload: bytes, listener: Listener, client: Client) -> Facts:
        """Raises TokenRefused with ``error_id`` set, after the refusal has been counted, logged and audited."""
        try:
            facts, issuer = await self._check(mechanism, payload, listener, client)
        except TokenRefused as error:
            error.error_id = self._error_id()
            self._on_checked(error.issuer, error.reason)
            if not self._told.admits(self._now()):
                raise
            self._journal.record("login_failed", listener=listener.name, mechanism=mechanism, issuer=error.issuer,
                                 client_id=client.id, address=client.address, reason=error.reason,
                                 error_id=error.error_id)
            log.warning("login_failed", listener=listener.name, mechanism=mechanism, issuer=error.issuer,
                        address=client.address, reason=error.reason, error_id=error.error_id)
            raise
        self._on_checked(issuer, ACCEPTED)
        return facts

    def _tell_rest(self, more: int) -> None:
        self._journal.record("login_failed", details={"more": more})
        log.error("login_refusals_not_told", count=more)

    async def _check(self, mechanism: str, payload: bytes, listener: Listener, client: Client) -> tuple[Facts, str]:
        if mechanism not in listener.authenticate:
            raise TokenRefused("sasl_malformed", "a mechanism that this listener does not offer")
        if mechanism == "OAUTHBEARER":
            message = sasl.parse_oauthbearer(payload)
            token = await self._validate(message.token)
            sasl.check_authzid(message, token.principal)
            declared = message.extensions
        elif mechanism == "PLAIN":
            # Clients cannot leave the user name out, so any is taken; it proves nothing and is kept as their own word.
            plain = sasl.parse_plain(payload)
            token = await self._validate(plain.password)
            # Some set the token as the name too; a secret is nothing to show.
            declared = {"username": plain.username} if plain.username != plain.password else {}
        else:
            raise TokenRefused("sasl_malformed", "a mechanism that carries no token")
        now = self._now()
        facts = Facts(principal=token.principal, mechanism=mechanism, listener=listener.name, attested=token.attested,
                      declared=declared, client=client, expires_at=min(token.expires_at, now + self._longest_session),
                      token_id=token.token_id)
        return facts, token.issuer

    async def _validate(self, token: str) -> ValidatedToken:
        def attempt() -> ValidatedToken:
            in_force = self._file.in_force
            return validate(token, self._issuers, in_force.issuer_keys if in_force else {}, self._now())

        return await validate_twice(attempt, self._fetch_key)

    async def _fetch_key(self, missing: KeyMissing) -> bool:
        """True when a snapshot with other keys is in force now."""
        try:
            answer = await self._link.ask(
                lambda number: KeyWanted(number, missing.issuer_alias, missing.kid, missing.reason), KEY_SECONDS)
        except ControlUnavailable as error:
            log.warning("key_not_fetched", issuer=missing.issuer_alias, error=str(error))
            return False
        if not answer.found:
            log.warning("key_not_fetched", issuer=missing.issuer_alias, reason=answer.reason)
            return False
        in_force = self._file.in_force
        if in_force is None or in_force.snapshot.epoch < answer.epoch:
            await self._file.load()
        return True

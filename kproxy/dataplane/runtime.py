"""All that a worker's sessions ask of the world, in one object: who somebody is, what the policy says, where a broker
is.

Nothing here is on the hot path: a session asks at login, when its policy table lacks a cell, and when it needs a
broker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kproxy._ext.registered import Registered
from kproxy._ext.topic_ids import TopicIds
from kproxy.dataplane.cluster_view import ClusterView
from kproxy.dataplane.in_force import Decide, SnapshotFile, decider_for
from kproxy.dataplane.journal import Journal
from kproxy.dataplane.logins import Logins
from kproxy.dataplane.proxy_header import Ends
from kproxy.dataplane.quotas import Quotas
from kproxy.dataplane.schema_lookups import SchemaLookups
from kproxy.dataplane.stats import Stats
from kproxy.dataplane.suspend import ApprovalQuestions
from kproxy.dataplane.upstream import BrokerLogin, Spoken, choose_credential
from kproxy.errors import BrokerUnreachable
from kproxy.model.access import ApprovalWanted, Client, Facts
from kproxy.model.policy import QuotaInForce
from kproxy.model.settings import Config, Limits, Listener


class Runtime:
    """One per worker. Times are Unix seconds."""

    def __init__(self, config: Config, worker: int, *, file: SnapshotFile, journal: Journal, logins: Logins,
                 approvals: ApprovalQuestions, clusters: dict[str, ClusterView],
                 schemas: dict[str, SchemaLookups], stats: Stats, quotas: Quotas, now: Callable[[], float]) -> None:
        self.config = config
        self.worker = worker
        self.journal = journal
        self.now = now
        self.stats = stats
        self.quotas = quotas
        self._file = file
        self._logins = logins
        self._approvals = approvals
        self._clusters = clusters
        self._schemas = schemas

    @property
    def limits(self) -> Limits:
        return self.config.limits

    @property
    def epoch(self) -> int:
        """Of the snapshot in force, 0 before the first."""
        return self._file.in_force.snapshot.epoch if self._file.in_force else 0

    @property
    def policy_version(self) -> str:
        return self._file.in_force.snapshot.policy_version if self._file.in_force else ""

    async def validate(self, mechanism: str, payload: bytes, listener: Listener, client: Client) -> Facts:
        """Raises TokenRefused; its ``error_id`` is what the client may be told."""
        return await self._logins.check(mechanism, payload, listener, client)

    def quotas_of(self, facts: Facts) -> tuple[QuotaInForce, ...]:
        """What a session may use, by the policy in force."""
        return self._file.in_force.decider.quotas_of(facts, self.now()) if self._file.in_force else ()

    def decider_for(self, facts: Facts) -> Decide:
        """``decide(resource, operation, name, now) -> (Verdict, native plan or None)`` for one session. It decides by
        whatever snapshot is in force when it is called, and raises rather than guess."""
        return decider_for(self._file, facts, self.config.audit.fields, self._on_condition_error)

    async def ask_approval(self, facts: Facts, wanted: ApprovalWanted) -> tuple[str, str]:
        """(request id, state); ``('', 'unavailable')`` when nobody could be asked within two seconds."""
        return await self._approvals.ask(facts, wanted)

    async def api_versions(self, cluster: str, node: int | None) -> Spoken:
        """What the broker says of itself. ``node`` None: the broker that bootstrap connections go to. Raises
        BrokerUnreachable."""
        return await self._clusters[cluster].versions(node)

    def topic_ids(self, cluster: str) -> TopicIds:
        """What the worker knows of the ids of the cluster's topics."""
        return self._clusters[cluster].topics.ids

    async def look_up_topics(self, cluster: str, ids: list[bytes]) -> None:
        """Until their names are in ``topic_ids``, or it is known that they cannot be had."""
        await self._clusters[cluster].topics.look_up(ids)

    def schemas(self, cluster: str) -> Registered | None:
        """What the worker knows of the cluster's schema registry; None: it has none."""
        lookups = self._schemas.get(cluster)
        return lookups.known if lookups is not None else None

    async def look_up_schemas(self, cluster: str, ids: list[int]) -> None:
        """Until they are in ``schemas``, or it is known that they cannot be had now."""
        await self._schemas[cluster].look_up(ids)

    def forget_broker(self, cluster: str, node: int | None) -> None:
        """The broker closed a connection: it may come back elsewhere, and with other versions."""
        self._clusters[cluster].forget(node)

    async def broker_login(self, cluster: str, node: int | None, facts: Facts) -> BrokerLogin | None:
        """What is spoken first on a session's connection to this broker; None where the cluster asks for no login.
        Raises BrokerUnreachable."""
        credential = choose_credential(self.config.clusters[cluster].credentials, self._roles(facts))
        if credential is None:
            return None
        return BrokerLogin(credential, (await self._clusters[cluster].versions(node)).ranges)

    async def connect_broker(self, factory: Callable[[], Any], cluster: str, node: int | None,
                             told: Ends | None) -> Any:
        """The transport of a new connection to the broker, its protocol made by ``factory``; ``told``: on whose behalf.
        ``factory`` may be called again when the first address does not answer. Raises BrokerUnreachable."""
        try:
            transport, _ = await self._clusters[cluster].connect(factory, node, told)
        except BrokerUnreachable as error:
            self.count_broker_error(cluster, error.cause)
            raise
        return transport

    def count_broker_error(self, cluster: str, cause: str) -> None:
        self.stats.add("kproxy_broker_errors_total", (cluster, cause))

    def count_masked(self, rule: str, entity: str, count: int) -> None:
        self.stats.add("kproxy_fields_masked_total", (rule, entity), count)

    def record_event(self, kind: str, facts: Facts | None = None, **fields: Any) -> str:
        """An audit event of this worker; gives its id."""
        return self.journal.record(kind, facts, **fields)

    def _on_condition_error(self, rule: str, facts: Facts) -> None:
        self.journal.record("condition_error", facts, rule=rule)

    def _roles(self, facts: Facts) -> tuple[str, ...]:
        in_force = self._file.in_force
        return in_force.decider.roles_of(facts, self.now()) if in_force else ()

"""The configuration file as values. ``kproxy.config`` reads, checks and resolves it; see docs/configuration.md."""

from __future__ import annotations

from typing import Literal

import msgspec

Mode = Literal["enforce", "observe"]
ClientAuth = Literal["none", "requested", "required"]
UpstreamMechanism = Literal["NONE", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str = "kproxy"
    workers: int | Literal["auto"] = "auto"
    runtime_dir: str = "/run/kproxy"
    state_dir: str = "/var/lib/kproxy"


class Credential(msgspec.Struct, frozen=True):
    """What kproxy shows the broker. ``role`` empty: for everybody. The first that fits wins."""

    mechanism: UpstreamMechanism = "NONE"
    role: str = ""
    username: str = ""
    password: str = ""


class BrokerTls(msgspec.Struct, frozen=True):
    """Paths of PEM files. ``ca`` empty: the system's authorities. Brokers that ask are shown ``cert``."""

    ca: str = ""
    cert: str = ""
    key: str = ""


class Cluster(msgspec.Struct, frozen=True):
    """``tls`` None: the brokers are spoken to in plaintext."""

    name: str
    bootstrap: tuple[tuple[str, int], ...]
    credentials: tuple[Credential, ...] = ()
    tls: BrokerTls | None = None


class Advertise(msgspec.Struct, frozen=True):
    """Broker ``n`` of ``first_broker..last_broker`` is reached at ``host``, port ``first_port + n - first_broker``."""

    host: str
    first_broker: int
    last_broker: int
    first_port: int


class ListenerTls(msgspec.Struct, frozen=True):
    """Paths of PEM files; ``cert`` may hold a chain, its own certificate first."""

    cert: str
    key: str
    client_ca: str = ""
    client_auth: ClientAuth = "none"


class Listener(msgspec.Struct, frozen=True):
    """``tls`` None: clients speak plaintext."""

    name: str
    cluster: str
    host: str
    port: int
    advertise: Advertise
    authenticate: tuple[str, ...]
    mode: Mode = "enforce"
    allow_plaintext: bool = False
    allow_anonymous: bool = False
    tls: ListenerTls | None = None


class Issuer(msgspec.Struct, frozen=True):
    """One trusted token issuer. ``alias`` is its key in the file; ``jwks_url``/``jwks_file`` replace discovery."""

    alias: str
    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    max_lifetime: float = 3600.0
    principal: str = "{issuer}:{sub}"
    groups: str = "groups"
    attributes: dict[str, str] = {}
    attest: dict[str, str] = {}
    token_profile: Literal["rfc9068", "generic", "github", "k8s", "spiffe"] = "rfc9068"
    jwks_url: str = ""
    jwks_file: str = ""
    ca: str = ""
    clock_skew: float = 30.0
    jwks_refresh: float = 300.0
    jwks_max_stale: float = 3600.0


class Audit(msgspec.Struct, frozen=True):
    durability: Literal["request", "interval"] = "request"
    when_full: Literal["refuse", "pass"] = "refuse"
    fields: bool = False
    file: str = ""
    """The JSON Lines sink; empty: ``state_dir/audit/audit.jsonl``."""
    max_spool_bytes: int = 1 << 30
    flow_interval: float = 5.0


class Limits(msgspec.Struct, frozen=True):
    """Kafka's own names, dots as underscores; times in seconds, sizes in bytes."""

    connections_max_idle: float = 600.0
    socket_request_max_bytes: int = 104857600
    connections_max_reauth: float = 3600.0
    max_connections: int = 20000
    login_timeout: float = 30.0
    drain_timeout: float = 30.0
    queued_bytes_per_connection: int = 16 * 1024 * 1024
    records_max_bytes: int = 128 * 1024 * 1024
    """Of one batch, decompressed, and of one partition's records, rewritten: a little more than a request may have."""
    records_max_ratio: int = 100
    """Decompressed over compressed. JSON records reach 5 to 30, zeros 1,000 with gzip and any number with zstd."""
    records_any_ratio_bytes: int = 4 * 1024 * 1024
    """Decompressed; up to here a batch may have any ratio, because equal records are small. A frame has 8 times it."""


class Config(msgspec.Struct, frozen=True):
    """Resolved: secrets read, durations in seconds, sizes in bytes, paths absolute."""

    file: str
    node: Node
    clusters: dict[str, Cluster]
    listeners: dict[str, Listener]
    issuers: dict[str, Issuer]
    policy_path: str
    mode: Mode
    keys: dict[str, bytes] = {}
    audit: Audit = Audit()
    admin: tuple[str, int] | None = ("127.0.0.1", 9464)
    admin_authenticate: tuple[str, ...] = ("oidc",)
    node_roles: dict[str, str] = {}
    metrics: tuple[str, int] | None = ("127.0.0.1", 9465)
    metrics_topics: tuple[str, ...] = ()
    limits: Limits = Limits()

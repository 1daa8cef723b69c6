"""The configuration file as values. ``kproxy.config`` reads, checks and resolves it; see docs/configuration.md,
whose tables scripts/reference.py makes of the fields here and of the text below each."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

from kproxy.model.written import NO_KEY, Address, Duration, Milliseconds, Path, Secret, Size, Written

Mode = Literal["enforce", "observe"]
ProxyVersion = Literal["v1", "v2"]
ClientAuth = Literal["none", "requested", "required"]
UpstreamMechanism = Literal["NONE", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
#: Signatures that need no shared secret; the rest of JOSE's list is refused when it is written, not when a token comes.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Written(default="the host's name")] = "kproxy"
    """the node's name in audit lines; two nodes may not share one"""
    workers: Annotated[Literal["auto"] | int, Written(least=1, most=1024)] = "auto"
    """worker processes; `auto` is the CPUs this node may use"""
    runtime_dir: Path = "/run/kproxy"
    """sockets and the snapshot, mode 0700"""
    state_dir: Path = "/var/lib/kproxy"
    """spool, audit and the log of approvals, mode 0700"""


class Credential(msgspec.Struct, frozen=True):
    """What kproxy shows the broker. ``role`` empty: for everybody. The first that fits wins."""

    mechanism: Annotated[UpstreamMechanism, Written(default="PLAIN")] = "NONE"
    """how kproxy logs in; `NONE`: not at all"""
    role: Annotated[str, Written(key="for", kind="`{role: NAME}`", default="everybody")] = ""
    """whose connections it is for: a role of the policy"""
    username: Annotated[str, Written(default="none")] = ""
    """needed by every mechanism but `NONE`, where it is an error"""
    password: Annotated[Secret, Written(default="none")] = ""
    """likewise"""


class BrokerTls(msgspec.Struct, frozen=True):
    """Paths of PEM files. ``ca`` empty: the system's authorities. Brokers that ask are shown ``cert``."""

    ca: Annotated[Path, Written(default="the system's")] = ""
    """PEM file of the authorities that vouch for brokers"""
    cert: Annotated[Path, Written(default="none")] = ""
    """PEM file of the certificate shown to brokers that ask for one, with its chain"""
    key: Annotated[Path, Written(default="none")] = ""
    """its unencrypted key, readable by kproxy's user alone"""


class SchemaRegistry(msgspec.Struct, frozen=True):
    """A registry with Confluent's REST API. ``username`` and ``token`` exclude each other."""

    url: Annotated[str, Written(kind="https URL")]
    """where `/schemas/ids/N` is; plain http is for loopback only"""
    ca: Annotated[Path, Written(default="the system's")] = ""
    """PEM file of the authorities trusted for its https"""
    username: Annotated[str, Written(default="none")] = ""
    """for basic authentication, with `password`"""
    password: Annotated[Secret, Written(default="none")] = ""
    """likewise"""
    token: Annotated[Secret, Written(default="none")] = ""
    """shown as a bearer token instead"""
    timeout: Duration = 3.0
    """how long one schema may take, with all that it refers to. What needs it waits, and is unknown then"""
    cache: Annotated[int, Written(least=1, most=100_000)] = 1000
    """schemas that the node keeps; they never change"""


class Cluster(msgspec.Struct, frozen=True):
    """``tls`` None: the brokers are spoken to in plaintext."""

    name: Annotated[str, NO_KEY]
    bootstrap: tuple[Address, ...]
    """some brokers; the rest are learned"""
    credentials: Annotated[tuple[Credential, ...], Written(kind="list, see below", default="none")] = ()
    """what kproxy shows the brokers; the first entry that fits wins. An entry for everybody comes last"""
    tls: Annotated[BrokerTls | None, Written(default="none: plaintext")] = None
    """TLS to the brokers; `{}` is enough where the system's authorities vouch for them"""
    proxy_protocol: Annotated[ProxyVersion | None, Written(default="none")] = None
    """every connection to its brokers begins with a header of the PROXY protocol, which names the client"""
    schema_registry: Annotated[SchemaRegistry | None, Written(default="none")] = None
    """where the schemas of its records are: without it no Avro can be looked into"""


class Advertise(msgspec.Struct, frozen=True, tag="ports"):
    """A port for each broker: broker ``n`` of ``first_broker..last_broker`` is reached at ``host``, port
    ``first_port + n - first_broker``."""

    host: str
    """the name or address that clients are told"""
    first_broker: Annotated[int, Written(key="brokers", kind="range such as `0-63`")]
    """ids of the brokers that get a port here; all the cluster's must be in it"""
    last_broker: Annotated[int, NO_KEY]
    first_port: Annotated[int, Written(key="first", least=1, most=65535)]
    """port of the range's first broker; the one with the next id is at the next port"""


class AdvertiseNames(msgspec.Struct, frozen=True, tag="sni"):
    """A name for each broker, all at one port. Names are in lower case."""

    pattern: Annotated[str, Written(kind="name with `{node}` in it")]
    """the name of each broker, its id in place of `{node}`; all of them must lead here, and stand in the certificate"""
    bootstrap: Annotated[str, Written(kind="name", default="`pattern` without its first label")]
    """the name that clients begin with. It may not be one of `pattern`"""
    port: Annotated[int, Written(least=1, most=65535, default="that of `bind`")]
    """the port that clients are told"""
    first_broker: Annotated[int, Written(key="brokers", kind="range such as `0-63`", default="0-4095")] = 0
    """ids of the brokers that have a name here; others are not shown"""
    last_broker: Annotated[int, NO_KEY] = 4095

    def parts(self) -> tuple[str, str]:
        """What stands before and behind the id."""
        before, _, behind = self.pattern.partition("{node}")
        return before, behind


class ListenerTls(msgspec.Struct, frozen=True):
    """Paths of PEM files; ``cert`` may hold a chain, its own certificate first."""

    cert: Path
    """PEM file of the certificate with its chain, its own first"""
    key: Path
    """its unencrypted key, readable by kproxy's user alone"""
    client_ca: Annotated[Path, Written(default="none")] = ""
    """authorities that clients' certificates are held against"""
    client_auth: ClientAuth = "none"
    """`requested`: a client may show none; a wrong one ends the handshake. Both but `none` need `client_ca`"""


class ProxyProtocol(msgspec.Struct, frozen=True):
    """Versions 1 and 2 of it, told apart by their first bytes."""

    trusted: Annotated[tuple[str, ...], Written(kind="list of networks")]
    """the balancers' own addresses, such as `10.0.0.0/24`. Everybody else is turned away"""


class Listener(msgspec.Struct, frozen=True):
    """``tls`` None: clients speak plaintext."""

    name: Annotated[str, NO_KEY]
    cluster: str
    """the cluster behind it"""
    host: Annotated[str, Written(key="bind", kind="address")]
    """where clients connect first"""
    port: Annotated[int, NO_KEY]
    advertise: Annotated[Advertise | AdvertiseNames, Written(kind="`{ports: {…}}` or `{sni: {…}}`, see below")]
    """where clients are told to find each broker"""
    authenticate: Annotated[tuple[str, ...], Written(kind="list of `OAUTHBEARER`, `PLAIN`; or `[none]`")]
    """how clients log in. The password of `PLAIN` is a token; `[none]`: one fixed principal `anonymous`"""
    mode: Annotated[Mode, Written(default="that of `policy`")] = "enforce"
    """`observe`: decide, record, let pass, and say so everywhere"""
    allow_plaintext: bool = False
    """lets tokens travel unencrypted off loopback. Without it a listener there needs `tls`"""
    allow_anonymous: bool = False
    """lets `[none]` off loopback"""
    tls: Annotated[ListenerTls | None, Written(default="none: plaintext")] = None
    """TLS 1.2 and 1.3 for clients"""
    proxy_protocol: Annotated[ProxyProtocol | None, Written(default="none")] = None
    """every connection here begins with a header of the PROXY protocol, which says who the client is"""


class Issuer(msgspec.Struct, frozen=True):
    """One trusted token issuer. ``alias`` is its key in the file; ``jwks_url``/``jwks_file`` replace discovery."""

    alias: Annotated[str, NO_KEY]
    issuer: str
    """the exact `iss` of its tokens. Unless `jwks_url` or `jwks_file` is given, also the address of the discovery
    document, and so an https URL, or http on loopback"""
    audience: Annotated[tuple[str, ...], Written(kind="text, or list of text")]
    """names of this proxy, one of which must be in the token. Never share one with another service"""
    algorithms: Annotated[tuple[str, ...], Written(kind=f"list of `{'`, `'.join(get_args(Algorithm))}`")] = (
        "RS256", "ES256")
    """signatures accepted from this issuer. HMAC and `none` cannot be configured"""
    max_lifetime: Duration = 3600.0
    """longest exp − iat that is accepted; a token that is good for longer is refused"""
    principal: str = "{issuer}:{sub}"
    """how names are made; exactly one claim besides `{issuer}`. Templates by which two issuers could make one name are
    refused"""
    groups: Annotated[str, Written(kind="claim path")] = "groups"
    """the claim with the groups (a list of text, or one text)"""
    attributes: Annotated[dict[str, str], Written(kind="`{NAME: claim path}`", default="none")] = {}
    """conditions read `principal.attributes.NAME`"""
    attest: Annotated[dict[str, str], Written(kind="`{NAME: claim path}`", default="none")] = {}
    """what the issuer vouches for; conditions read `attested.NAME`"""
    token_profile: Literal["rfc9068", "generic", "github", "k8s", "spiffe"] = "rfc9068"
    """which kind of token the issuer hands out ([profiles](identity.md#token-profiles))"""
    jwks_url: Annotated[str, Written(kind="https URL", default="by discovery")] = ""
    """where its keys are, without discovery"""
    jwks_file: Annotated[Path, Written(default="by discovery")] = ""
    """a file with its keys, for issuers that cannot be reached, as many clusters' own"""
    ca: Annotated[Path, Written(default="the system's")] = ""
    """PEM file of the authorities trusted for the issuer's https"""
    clock_skew: Duration = 30.0
    """by how much the issuer's clock may differ"""
    jwks_refresh: Duration = 300.0
    """how often its keys are fetched"""
    jwks_max_stale: Duration = 3600.0
    """how long the last keys count while they cannot be fetched; then its tokens are refused"""


class Audit(msgspec.Struct, frozen=True):
    durability: Literal["request", "interval"] = "request"
    """`request`: the notes of a produce are the kernel's before its answer leaves, so a killed process loses none;
    `interval`: they wait in the worker for up to a second, which a killed one loses. The kernel's are synced to the
    disk once a second in both, so a power cut takes that second too"""
    when_full: Literal["refuse", "pass"] = "refuse"
    """what happens to traffic when lines can no longer be written"""
    fields: bool = False
    """count the JSON fields of records on every topic, not only on those with masks or guards"""
    file: Annotated[str, Written(key="sinks", kind="`[{file: PATH}]`", default="`STATE_DIR/audit/audit.jsonl`")] = ""
    """where lines end, in JSON; one file. `kafka` and `http` are not supported yet"""
    max_spool_bytes: Size = 1 << 30
    """how much may wait to be shipped; then `when_full` rules"""
    flow_interval: Duration = 5.0
    """how often an open session sums up what it did"""


class Limits(msgspec.Struct, frozen=True):
    """Kafka's own names, dots as underscores; times in seconds, sizes in bytes."""

    connections_max_idle: Milliseconds = 600.0
    """a connection with nothing under way is closed when its client was silent for so long"""
    socket_request_max_bytes: Annotated[int, Written(least=1024, most=2**31 - 1)] = 104857600
    """larger requests are refused before memory is taken for them"""
    connections_max_reauth: Milliseconds = 3600.0
    """no session outlives this, whatever its token says"""
    max_connections: Annotated[int, Written(least=1)] = 20000
    """open at one time in the node, in equal parts for its workers; more are turned away"""
    login_timeout: Milliseconds = 30.0
    """a connection that has not logged in by then is closed"""
    drain_timeout: Milliseconds = 30.0
    """how long a node that stops waits for its connections"""
    queued_bytes_per_connection: Size = 16 * 1024 * 1024
    """what may be held for a client or broker that reads slowly"""
    records_max_bytes: Annotated[Size, Written(least=1, most=1 << 30)] = 128 * 1024 * 1024
    """what one compressed batch may hold where a rule must look into it, and one partition's records once values are
    hidden: a little more than a request may have"""
    records_max_ratio: Annotated[int, Written(least=1, most=1 << 20)] = 100
    """and how many times its compressed size. JSON records reach 5 to 30, zeros 1,000 with gzip and any number with
    zstd"""
    records_any_ratio_bytes: Annotated[Size, Written(least=1, most=1 << 30)] = 4 * 1024 * 1024
    """decompressed, a batch up to here may have any ratio: equal records compress as well as they like"""


class Config(msgspec.Struct, frozen=True):
    """Resolved: secrets read, durations in seconds, sizes in bytes, paths absolute."""

    file: str
    node: Node
    clusters: dict[str, Cluster]
    listeners: dict[str, Listener]
    issuers: dict[str, Issuer]
    policy_path: Annotated[Path, Written(part="policy", key="path")]
    """a file, or a folder of which every `*.yaml` and `*.yml` is read ([policy.md](policy.md))"""
    mode: Annotated[Mode, Written(part="policy", default="enforce")]
    """for listeners that do not say"""
    keys: dict[str, bytes] = {}
    audit: Audit = Audit()
    admin: Annotated[tuple[str, int] | None, Written(part="admin", key="bind", kind="address")] = ("127.0.0.1", 9464)
    """the admin API. Off loopback it needs `allow_plaintext: true`, because tokens would travel unencrypted"""
    admin_authenticate: Annotated[tuple[str, ...], Written(part="admin", key="authenticate", kind="list of `oidc`")] = (
        "oidc",)
    """tokens of the issuers above"""
    node_roles: Annotated[dict[str, str], Written(part="admin", key="roles", kind="see below", default="none")] = {}
    """who is `viewer`, `operator`, `approver`, `auditor` ([what each may do](operations.md#who-may-do-what))"""
    admin_allow_plaintext: Annotated[bool, Written(part="admin", key="allow_plaintext")] = False
    """see `bind`"""
    metrics: Annotated[tuple[str, int] | None, Written(part="metrics", key="bind", kind="address")] = (
        "127.0.0.1", 9465)
    """`/metrics`, `/healthz`, `/readyz`"""
    limits: Limits = Limits()

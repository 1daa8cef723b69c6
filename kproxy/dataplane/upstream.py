"""kproxy as a Kafka client: how it connects to a broker, logs in, and what it asks for itself.

BrokerLogin is bytes in, bytes out, so that the native protocol runs it over a client's own broker connection and
ServiceConnection over kproxy's. What kproxy asks for itself stays below the flexible versions, whose response header
would only add bytes that nobody reads.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from kproxy import __version__
from kproxy._ext import schema
from kproxy.dataplane.dialing import Dialer
from kproxy.errors import BrokerRefusedLogin, BrokerUnreachable, WireError
from kproxy.identity.scram import SaltedKeys, ScramClient
from kproxy.model.settings import Credential

METADATA, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 3, 17, 18, 36
UNSUPPORTED_VERSION = 35
CLIENT_ID = "kproxy"
SOFTWARE = {"client_software_name": "kproxy", "client_software_version": __version__}
#: From 9 on Metadata is flexible. 1 is the first in which an empty list of topics means none.
METADATA_VERSIONS = (1, 8)
#: From 10 on an answer tells the ids of topics, and from 12 on topics are asked for by id.
TOPIC_ID_VERSIONS = (10, 12)
NO_TOPIC = bytes(16)
#: ApiVersions, the newest first: a broker that cannot read or write one is asked again with the next.
API_VERSIONS_TRIED = (3, 2, 1, 0)
#: Kafka's own limit for a frame during SASL; the login answers of a broker are far below it.
LOGIN_FRAME_BYTES = 524288
#: How a TLS server begins its answer to whoever speaks plaintext.
TLS_ALERT = b"\x15\x03"
LONGEST_CORRELATION = 2147483639  # Java keeps the eight above for itself.

#: One account's connections share what is derived from its password.
SALTED_KEYS = SaltedKeys()

Ranges = dict[int, tuple[int, int]]


class Spoken(NamedTuple):
    """What a broker says it can: ``ranges`` of its APIs' versions, and the ``levels`` of the features that its cluster
    has agreed on, in their ``epoch``, -1 where it tells none (KIP-584). ``cluster_id`` is empty where it is unknown."""

    ranges: Ranges
    levels: Mapping[str, int] = MappingProxyType({})
    epoch: int = -1
    cluster_id: str = ""


_HEAD = struct.Struct(">ihhih")


def build_nonce() -> str:
    """24 random bytes in base64, which has no comma (RFC 5802 section 5.1)."""
    return base64.b64encode(os.urandom(24)).decode()


def build_request(api_key: int, version: int, correlation: int, body: bytes) -> bytes:
    """A whole request frame of kproxy's own, its size included."""
    name = CLIENT_ID.encode()
    tags = b"\0" if schema.flexible(api_key, version) else b""
    size = 10 + len(name) + len(tags) + len(body)
    return _HEAD.pack(size, api_key, version, correlation, len(name)) + name + tags + body


def below_flexible(ranges: Ranges) -> Ranges:
    """The ranges of the APIs kproxy serves, each cut below its first flexible version; the others as they are.

    A broker whose flexible ApiVersions cannot be read is not to be trusted with other flexible answers: librdkafka's
    mock cluster ends its Metadata from 9 on with one byte too many.
    """
    served = {api_key for api_key, _, _ in schema.served_messages()}
    cut: Ranges = {}
    for api_key, (lowest, highest) in ranges.items():
        if api_key in served:
            highest = min(highest, schema.versions(api_key)[1])
            while highest >= 0 and schema.flexible(api_key, highest):
                highest -= 1
        if highest >= lowest:
            cut[api_key] = (lowest, highest)
    return cut


def _is_refusal(body: bytes) -> bool:
    """Whether an ApiVersions answer says, as it must in version 0, that the version asked in is not spoken."""
    try:
        return bool(schema.parse(API_VERSIONS, 0, True, body)["error_code"] == UNSUPPORTED_VERSION)
    except WireError:
        return False


def read_answer(frame: bytes, correlation: int, *, flexible: bool = False) -> bytes:
    """The body of a whole answer frame, with response header 1 if ``flexible``, else 0. Raises WireError."""
    if len(frame) < 8 + flexible or int.from_bytes(frame[4:8], "big", signed=True) != correlation:
        raise WireError("the broker answered something that was not asked")
    if flexible and frame[8]:
        raise WireError("the broker answered with tags that nobody knows")
    return frame[8 + flexible :]


class BrokerLogin:
    """SASL PLAIN or SCRAM towards a broker: SaslHandshake v1, then SaslAuthenticate as often as the mechanism needs.

    Send ``start()``; hand every answering frame (whole, its size included) to ``receive_frame`` and send what it gives,
    until ``done``. It raises BrokerRefusedLogin or WireError, after which ``failed`` says why. ``lifetime`` is then the
    number of seconds the broker lets the login last, 0 for ever; ``start`` begins a login anew on the same connection
    (KIP-368). ``ranges`` are those of the broker it speaks to, ``nonce`` gives a fresh one each time.
    """

    def __init__(self, credential: Credential, ranges: Ranges, nonce: Callable[[], str] = build_nonce) -> None:
        self._credential = credential
        self._version = min(1, ranges.get(SASL_AUTHENTICATE, (0, 0))[1])
        self._nonce = nonce
        self._correlation = 0
        self._mechanism: _Plain | ScramClient | None = None
        self.done = False
        self.failed = ""
        self.lifetime = 0.0

    def start(self) -> bytes:
        self.done = False
        self._mechanism = None
        body = schema.build(SASL_HANDSHAKE, 1, False, {"mechanism": self._credential.mechanism})
        return self._build(SASL_HANDSHAKE, 1, body)

    def receive_frame(self, frame: bytes) -> bytes | None:
        """What to send next, None when the login is done."""
        try:
            body = read_answer(bytes(frame), self._correlation)
            if self._mechanism is None:
                return self._on_handshake(schema.parse(SASL_HANDSHAKE, 1, True, body))
            return self._on_authenticate(schema.parse(SASL_AUTHENTICATE, self._version, True, body), self._mechanism)
        except (WireError, BrokerRefusedLogin) as error:
            self.failed = str(error)
            raise

    def _on_handshake(self, answer: dict[str, Any]) -> bytes:
        mechanism = self._credential.mechanism
        if answer["error_code"]:
            offered = ", ".join(answer["mechanisms"]) or "none"
            raise BrokerRefusedLogin(f"the broker does not take {mechanism}; it offers {offered}",
                                     "mechanism_not_offered")
        name, password = self._credential.username, self._credential.password
        if mechanism == "PLAIN":
            self._mechanism = _Plain(name, password)
        else:
            self._mechanism = ScramClient(mechanism, name, password, self._nonce(), SALTED_KEYS)
        return self._authenticate(self._mechanism.build_first())

    def _on_authenticate(self, answer: dict[str, Any], mechanism: _Plain | ScramClient) -> bytes | None:
        if answer["error_code"]:
            raise BrokerRefusedLogin(answer["error_message"] or f"error {answer['error_code']}")
        message = mechanism.receive(answer["auth_bytes"])
        if message is not None:
            return self._authenticate(message)
        self.lifetime = answer.get("session_lifetime_ms", 0) / 1000.0
        self.done = True
        return None

    def _authenticate(self, message: bytes) -> bytes:
        body = schema.build(SASL_AUTHENTICATE, self._version, False, {"auth_bytes": message})
        return self._build(SASL_AUTHENTICATE, self._version, body)

    def _build(self, api_key: int, version: int, body: bytes) -> bytes:
        self._correlation = self._correlation % LONGEST_CORRELATION + 1
        return build_request(api_key, version, self._correlation, body)


class _Plain:
    """RFC 4616: one message, and whatever the broker answers without an error is its consent."""

    def __init__(self, username: str, password: str) -> None:
        self._message = f"\0{username}\0{password}".encode()

    def build_first(self) -> bytes:
        return self._message

    def receive(self, _message: bytes) -> None:
        return None


def choose_credential(credentials: tuple[Credential, ...], roles: tuple[str, ...]) -> Credential | None:
    """The first that is for everybody or for one of ``roles``; None where the broker asks for nothing."""
    for credential in credentials:
        if not credential.role or credential.role in roles:
            return None if credential.mechanism == "NONE" else credential
    return None


class ServiceConnection:
    """kproxy's own connection to one broker: one question at a time, no client's data. Any error ends it. ``lifetime``
    is how many seconds the broker lets its login last, 0 for ever."""

    def __init__(self, dialer: Dialer, host: str, port: int, *, timeout: float, max_bytes: int) -> None:
        self.host = host
        self.port = port
        self.spoken = Spoken({})
        self.lifetime = 0.0
        self._dialer = dialer
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._reader: asyncio.StreamReader | None = None
        self._transport: Any = None
        self._correlation = 0
        self._asking = asyncio.Lock()
        self._malformed_flexible = False

    async def open(self, first: int = API_VERSIONS_TRIED[0]) -> None:
        """Connects and learns the broker's versions. Raises BrokerUnreachable or WireError."""
        self._malformed_flexible = False
        for version in (version for version in API_VERSIONS_TRIED if version <= first):
            if self._transport is None:
                await self._connect()
            try:
                spoken = await self._ask_versions(version)
            except BrokerUnreachable:
                # Some brokers close on a version they do not know; the next is tried over a new connection.
                self.close()
                if version == API_VERSIONS_TRIED[-1]:
                    raise
                continue
            if spoken is not None:
                self.spoken = Spoken(below_flexible(spoken.ranges)) if self._malformed_flexible else spoken
                return
        self.close()
        raise WireError("the broker answers no version of ApiVersions that can be read")

    @property
    def ranges(self) -> Ranges:
        return self.spoken.ranges

    async def log_in(self, credential: Credential | None) -> None:
        """Raises BrokerRefusedLogin, BrokerUnreachable or WireError."""
        if credential is None:
            return
        login = BrokerLogin(credential, self.ranges)
        message: bytes | None = login.start()
        while message is not None:
            message = login.receive_frame(await self._exchange(message, LOGIN_FRAME_BYTES))
        self.lifetime = login.lifetime

    async def fetch_brokers(self) -> dict[int, tuple[str, int]]:
        """Node id → (host, port) as this broker tells kproxy. Raises BrokerUnreachable or WireError."""
        lowest, highest = self.ranges.get(METADATA, (0, -1))
        version = min(METADATA_VERSIONS[1], highest)
        if version < max(METADATA_VERSIONS[0], lowest):
            raise WireError("the broker speaks no version of Metadata that kproxy knows")
        answer = await self.ask(METADATA, version, {"topics": [], "allow_auto_topic_creation": False})
        self.spoken = self.spoken._replace(cluster_id=answer.get("cluster_id") or "")
        return {broker["node_id"]: (broker["host"], broker["port"]) for broker in answer["brokers"]}

    async def fetch_topic_names(self, ids: list[bytes]) -> dict[bytes, str]:
        """Id → name of those of ``ids`` that are there, of all topics if the zero id is among them; nothing is created.
        Raises BrokerUnreachable or WireError."""
        version = min(TOPIC_ID_VERSIONS[1], self.ranges.get(METADATA, (0, -1))[1])
        if version < TOPIC_ID_VERSIONS[0]:
            raise WireError("the broker speaks no version of Metadata that tells the ids of topics")
        wanted = set(ids)
        # Older brokers of a cluster that is being upgraded are asked for all topics too.
        topics = None
        if version == TOPIC_ID_VERSIONS[1] and NO_TOPIC not in wanted:
            topics = [{"topic_id": one, "name": None} for one in ids]
        answer = await self.ask(METADATA, version, {"topics": topics, "allow_auto_topic_creation": False})
        return {topic["topic_id"]: topic["name"] for topic in answer["topics"]
                if topic["name"] and (topic["topic_id"] in wanted or NO_TOPIC in wanted)}

    async def ask(self, api_key: int, version: int, values: dict[str, Any]) -> dict[str, Any]:
        async with self._asking:
            return await self._ask(api_key, version, values)

    async def _ask(self, api_key: int, version: int, values: dict[str, Any]) -> dict[str, Any]:
        self._correlation = self._correlation % LONGEST_CORRELATION + 1
        request = build_request(api_key, version, self._correlation, schema.build(api_key, version, False, values))
        frame = await self._exchange(request, self._max_bytes)
        body = read_answer(frame, self._correlation, flexible=schema.flexible(api_key, version))
        return schema.parse(api_key, version, True, body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = self._reader = None

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1 << 16, loop=loop)
        self._transport, _ = await self._dialer.connect(lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
                                                        self.host, self.port)
        self._reader = reader

    async def _ask_versions(self, version: int) -> Spoken | None:
        """None: the broker does not speak this version, or its answer cannot be read."""
        values = SOFTWARE if version >= 3 else {}
        self._correlation += 1
        request = build_request(API_VERSIONS, version, self._correlation,
                                schema.build(API_VERSIONS, version, False, values))
        body = read_answer(await self._exchange(request, self._max_bytes), self._correlation)
        try:
            answer = schema.parse(API_VERSIONS, version, True, body)
        except WireError:
            # Either the body of version 0 with error 35, or one that is simply malformed: ask lower.
            self._malformed_flexible = self._malformed_flexible or not _is_refusal(body)
            return None
        if answer["error_code"]:
            return None
        return Spoken({entry["api_key"]: (entry["min_version"], entry["max_version"]) for entry in answer["api_keys"]},
                      {one["name"]: one["max_version_level"] for one in answer.get("finalized_features", ())},
                      answer.get("finalized_features_epoch", -1))

    async def _exchange(self, request: bytes, max_bytes: int) -> bytes:
        if self._transport is None or self._reader is None:
            raise BrokerUnreachable(f"{self.host}:{self.port}: not connected")
        self._transport.write(request)
        try:
            async with asyncio.timeout(self._timeout):
                head = await self._reader.readexactly(4)
                size = int.from_bytes(head, "big", signed=True)
                if head[:2] == TLS_ALERT:
                    raise BrokerUnreachable(f"{self.host}:{self.port}: the broker speaks TLS at this port; see the"
                                            " cluster's tls", "broker_speaks_tls")
                if not 0 <= size <= max_bytes:
                    raise WireError(f"the broker announced a frame of {size} bytes")
                return size.to_bytes(4, "big") + await self._reader.readexactly(size)
        except TimeoutError:
            raise BrokerUnreachable(f"{self.host}:{self.port}: no answer within {self._timeout:g} s") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise BrokerUnreachable(f"{self.host}:{self.port}: connection lost ({type(error).__name__})") from None

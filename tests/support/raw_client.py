"""A Kafka client that sends just the bytes a test wants, in the order and pieces it wants."""

from __future__ import annotations

import fcntl
import socket
import ssl
import struct
import termios
from typing import Any

from tests.support import frames
from tests.support.ports import wait_for

PRODUCE, FETCH, METADATA, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 0, 1, 3, 17, 18, 36
SECONDS = 10


class RawClient:
    """One connection. ``ask`` sends a request and reads the next answer; ``send`` and ``receive`` do one half each."""

    def __init__(self, bootstrap: str, tls: ssl.SSLContext | None = None, source: str = "",
                 name: str | None = "") -> None:
        """``name`` is whom a TLS handshake asks for, None nobody; by default the host."""
        host, _, port = bootstrap.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=SECONDS,
                                               source_address=(source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=host if name == "" else name)
        self._rest = b""
        self.correlation = 0

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def frame(self, api: int, version: int, values: dict[str, Any]) -> bytes:
        """A request with the next correlation id, not sent."""
        self.correlation += 1
        return frames.request(api, version, self.correlation, values)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> bytes | None:
        """The next frame, its size included; None when the other side has closed. Raises TimeoutError."""
        while len(self._rest) < 4 or len(self._rest) < 4 + struct.unpack_from(">i", self._rest)[0]:
            try:
                piece = self.socket.recv(1 << 18)
            except ConnectionError:
                piece = b""
            if not piece:
                return None
            self._rest += piece
        end = 4 + struct.unpack_from(">i", self._rest)[0]
        frame, self._rest = self._rest[:end], self._rest[end:]
        return frame

    def receive_answer(self, api: int, version: int) -> tuple[int, dict[str, Any]]:
        """(correlation, body) of the next answer."""
        frame = self.receive()
        assert frame is not None, "the connection was closed instead of answered"
        return frames.read_response(api, version, frame)

    def ask(self, api: int, version: int, values: dict[str, Any]) -> dict[str, Any]:
        self.send(self.frame(api, version, values))
        correlation, body = self.receive_answer(api, version)
        assert correlation == self.correlation
        return body

    def wait_until_full(self) -> None:
        """Until so much is unread here that nothing more arrives: every buffer on the way is full, or all is there."""
        arrived = [-1]

        def is_full() -> bool:
            before = arrived[0]
            arrived[0] = struct.unpack("i", fcntl.ioctl(self.socket, termios.FIONREAD, b"\0" * 4))[0]
            return arrived[0] == before > 0

        wait_for("every buffer to be full", is_full, every=0.4)

    def is_closed(self) -> bool:
        """Waits for the other side's close. False if an answer comes instead."""
        return self.receive() is None

    def log_in(self, token: str, mechanism: str = "OAUTHBEARER") -> dict[str, Any]:
        """The answer of SaslAuthenticate, refused or not."""
        body = self.ask(SASL_HANDSHAKE, 1, {"mechanism": mechanism})
        assert body["error_code"] == 0, body
        return self.ask(SASL_AUTHENTICATE, 2, {"auth_bytes": first_message(token, mechanism)})


def first_message(token: str, mechanism: str = "OAUTHBEARER") -> bytes:
    if mechanism == "PLAIN":
        return b"\0token\0" + token.encode()
    return b"n,,\x01auth=Bearer " + token.encode() + b"\x01\x01"


def produce(*topics: tuple[str, list[bytes | None]], acks: int = -1, timestamp: int = 1000) -> dict[str, Any]:
    """The body of a produce: one batch for partition 0 of each topic."""
    return {"transactional_id": None, "acks": acks, "timeout_ms": 5000, "topic_data": [
        {"name": topic, "partition_data": [{"index": 0, "records": frames.batch(values, timestamp=timestamp)}]}
        for topic, values in topics]}


def metadata(topics: list[str] | None) -> dict[str, Any]:
    """The body of a Metadata request (v4 and later) that creates nothing."""
    named = None if topics is None else [{"name": name} for name in topics]
    return {"topics": named, "allow_auto_topic_creation": False}


def fetch(topic: str, offset: int = 0, partition: int = 0, max_wait_ms: int = 0) -> dict[str, Any]:
    """The body of a sessionless fetch."""
    return {"replica_id": -1, "max_wait_ms": max_wait_ms, "min_bytes": 0 if max_wait_ms == 0 else 1,
            "max_bytes": 1 << 24, "isolation_level": 0, "session_id": 0, "session_epoch": -1,
            "topics": [{"topic": topic, "partitions": [
                {"partition": partition, "current_leader_epoch": -1, "fetch_offset": offset, "last_fetched_epoch": -1,
                 "log_start_offset": -1, "partition_max_bytes": 1 << 22}]}],
            "forgotten_topics_data": [], "rack_id": ""}

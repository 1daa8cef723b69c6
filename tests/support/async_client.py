"""A Kafka client of one connection that sends exactly what a test wants and shows exactly what came back."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from typing import Any

from tests.support import frames

METADATA, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 3, 17, 18, 36


class RawClient:
    """``ask`` waits for its answer; ``send`` and ``receive`` pipeline. IncompleteReadError when the other side
    closed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._correlation = 0
        self._sent: list[tuple[int, int, int]] = []

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1") -> RawClient:
        return cls(*await asyncio.open_connection(host, port))

    @classmethod
    async def connect_tls(cls, port: int, context: ssl.SSLContext, name: str) -> RawClient:
        """``name``: the server's, as the handshake has it."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name))

    def send(self, api: int, version: int, values: dict[str, Any]) -> None:
        self._correlation += 1
        self._sent.append((api, version, self._correlation))
        self._writer.write(frames.request(api, version, self._correlation, values))

    async def receive(self, seconds: float = 10.0) -> dict[str, Any]:
        api, version, correlation = self._sent.pop(0)
        async with asyncio.timeout(seconds):
            size = await self._reader.readexactly(4)
            frame = size + await self._reader.readexactly(int.from_bytes(size, "big"))
        answered, body = frames.read_response(api, version, frame)
        assert answered == correlation, "answers come in the order of the requests"
        return body

    async def ask(self, api: int, version: int, values: dict[str, Any]) -> dict[str, Any]:
        self.send(api, version, values)
        return await self.receive()

    async def log_in(self, token: str, user: str = "svc") -> dict[str, Any]:
        """ApiVersions, then the token as a PLAIN password. Gives the last answer, whatever it says."""
        await self.ask(API_VERSIONS, 3, {"client_software_name": "raw", "client_software_version": "1"})
        await self.ask(SASL_HANDSHAKE, 1, {"mechanism": "PLAIN"})
        return await self.ask(SASL_AUTHENTICATE, 1, {"auth_bytes": f"\0{user}\0{token}".encode()})

    async def closed(self, seconds: float = 10.0) -> bool:
        """Waits for the other side to close; False if it still sends."""
        async with asyncio.timeout(seconds):
            return await self._reader.read(1) == b""

    def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)

    def end(self) -> None:
        """No more will be sent: the other side reads what there is, and then the end."""
        self._writer.write_eof()

    def reset(self) -> None:
        """The other side reads nothing any more, not even what was sent before."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._writer.transport.abort()

"""One schema of a registry with all that it refers to, by Confluent's REST API, which other registries have as well.

What is fetched decides which bytes are hidden, so the way there is narrow: no redirects, a bounded time and size, no
cookies, no proxies of the environment, nothing compressed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx
import msgspec

from kproxy.errors import KproxyError
from kproxy.model.settings import SchemaRegistry

MAX_DOCUMENT: Final = 1 << 20
#: Schemas that one refers to, by way of others too.
MOST_REFERENCES: Final = 64
_HEADERS: Final = {"accept": "application/vnd.schemaregistry.v1+json, application/json",
                   "accept-encoding": "identity", "user-agent": "kproxy"}
_NOT_FOUND: Final = 404


class SchemaMissing(KproxyError):
    """The registry says that it has no schema of this id."""


class RegistryFailed(KproxyError):
    """The registry could not be asked, or answered what is no schema. ``reason`` is a fixed word."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


class Fetched(NamedTuple):
    """``kind`` is ``AVRO``, ``JSON`` or what the registry calls it; ``references`` are name and text of
    what the schema refers to, each behind those it refers to itself."""

    kind: str
    text: str
    references: tuple[tuple[str, str], ...]


class HttpFetch:
    """``open_client`` makes the HTTP client, for tests."""

    def __init__(self, registry: SchemaRegistry, open_client: Callable[..., httpx.AsyncClient] = httpx.AsyncClient
                 ) -> None:
        self._registry = registry
        self._open_client = open_client
        self._client: httpx.AsyncClient | None = None

    async def fetch(self, schema_id: int) -> Fetched:
        """Raises SchemaMissing, RegistryFailed."""
        try:
            async with asyncio.timeout(self._registry.timeout):
                document = await self._get(f"/schemas/ids/{schema_id}", SchemaMissing(f"schema {schema_id}"))
                references: dict[str, str] = {}
                await self._follow(document, references, ())
        except TimeoutError:
            raise RegistryFailed("timeout", f"no answer within {self._registry.timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RegistryFailed("unreachable", type(error).__name__) from None
        return Fetched(document.kind, document.schema, tuple(references.items()))

    async def _follow(self, document: _Document, found: dict[str, str], above: tuple[str, ...]) -> None:
        """Adds what the document refers to, depth first."""
        for reference in document.references:
            if reference.name in above:
                raise RegistryFailed("references", "a schema refers to itself")
            if reference.name in found:
                continue
            if len(found) + len(above) >= MOST_REFERENCES:
                raise RegistryFailed("references", f"a schema refers to more than {MOST_REFERENCES} others")
            path = f"/subjects/{quote(reference.subject, safe='')}/versions/{reference.version}"
            inner = await self._get(path, RegistryFailed("references", "a schema that is referred to is not there"))
            await self._follow(inner, found, (*above, reference.name))
            found[reference.name] = inner.schema

    async def _get(self, path: str, missing: Exception) -> _Document:
        async with self._open().stream("GET", self._registry.url.rstrip("/") + path, headers=_HEADERS) as response:
            if response.status_code == _NOT_FOUND:
                raise missing
            if response.status_code != 200:
                raise RegistryFailed("http_status", f"HTTP status {response.status_code}")
            data = await _read(response)
        try:
            return _decode(data)
        except (msgspec.DecodeError, RecursionError):
            raise RegistryFailed("bad_answer", "the answer is no schema") from None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            registry = self._registry
            try:
                trust = ssl.create_default_context(cafile=registry.ca or None)
            except (OSError, ssl.SSLError):
                raise RegistryFailed("file_unreadable", f"{registry.ca} holds no certificates") from None
            more: dict[str, Any] = {}
            if registry.username:
                more["auth"] = httpx.BasicAuth(registry.username, registry.password)
            elif registry.token:
                more["headers"] = {"authorization": f"Bearer {registry.token}"}
            # One limit over the whole fetch says more than httpx's limits for each of its steps.
            self._client = self._open_client(verify=trust, trust_env=False, timeout=None, follow_redirects=False,
                                             **more)
        return self._client

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class _Reference(msgspec.Struct, frozen=True):
    name: str
    subject: str
    version: int


class _Document(msgspec.Struct, frozen=True):
    schema: str
    kind: str = msgspec.field(default="AVRO", name="schemaType")
    references: tuple[_Reference, ...] = ()


_decode = msgspec.json.Decoder(_Document).decode


async def _read(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise RegistryFailed("bad_answer", "the answer is compressed although nobody asked for it")
    data = bytearray()
    async for piece in response.aiter_raw(16384):
        data += piece
        if len(data) > MAX_DOCUMENT:
            raise RegistryFailed("too_large", f"the answer is larger than {MAX_DOCUMENT} bytes")
    return bytes(data)

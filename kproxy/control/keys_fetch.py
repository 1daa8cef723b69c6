"""Fetches one issuer's key set: from a file, from its address, or from wherever its discovery document says.

What is fetched decides who gets in, so the way there is narrow: https off loopback, redirects only to where https still
holds, a bounded time and size, no cookies, no proxies of the environment, nothing compressed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urljoin

import httpx

from kproxy.control.keys_documents import (
    MAX_DOCUMENT,
    KeySet,
    KeysUnusable,
    check_key_address,
    parse_discovery,
    parse_jwks,
)
from kproxy.model.settings import Issuer

TIMEOUT: Final = 5.0
MAX_REDIRECTS: Final = 3
_HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "kproxy"}


class Fetch(Protocol):
    async def fetch(self) -> KeySet:
        """Raises KeysUnusable."""

    async def aclose(self) -> None: ...


class FileFetch:
    """Keys from ``jwks_file``."""

    def __init__(self, issuer: Issuer) -> None:
        self._path = Path(issuer.jwks_file)

    async def fetch(self) -> KeySet:
        return parse_jwks(await asyncio.to_thread(self._read))

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_DOCUMENT + 1)
        except OSError as error:
            raise KeysUnusable("file_unreadable", f"{self._path}: {error.strerror}") from None
        if len(data) > MAX_DOCUMENT:
            raise KeysUnusable("too_large", f"{self._path} is larger than a key set can be")
        return data

    async def aclose(self) -> None:
        return None


class HttpFetch:
    """Keys from ``jwks_url`` or by discovery. Where discovery led is remembered for ``jwks_refresh`` seconds, so that a
    flood of unknown key ids costs the issuer one request each time and not two."""

    def __init__(self, issuer: Issuer, monotonic: Callable[[], float], timeout: float = TIMEOUT) -> None:
        self._issuer = issuer
        self._monotonic = monotonic
        self._timeout = timeout
        self._address = issuer.jwks_url
        self._trusted_until = float("inf") if issuer.jwks_url else 0.0
        self._client: httpx.AsyncClient | None = None

    async def fetch(self) -> KeySet:
        try:
            async with asyncio.timeout(self._timeout):
                return parse_jwks(await self._get(await self._find()))
        except TimeoutError:
            raise self._forget(KeysUnusable("timeout", f"no answer within {self._timeout:g} s")) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._forget(KeysUnusable("unreachable", type(error).__name__)) from None
        except KeysUnusable as error:
            raise self._forget(error) from None

    def _forget(self, error: KeysUnusable) -> KeysUnusable:
        """After a failure the issuer is asked anew where its keys are."""
        if not self._issuer.jwks_url:
            self._trusted_until = 0.0
        return error

    async def _find(self) -> str:
        if self._monotonic() >= self._trusted_until:
            name = self._issuer.issuer
            data = await self._get(name.rstrip("/") + "/.well-known/openid-configuration")
            self._address = parse_discovery(data, name, secure=name.lower().startswith("https:"))
            self._trusted_until = self._monotonic() + self._issuer.jwks_refresh
        return self._address

    async def _get(self, address: str) -> bytes:
        secure = address.lower().startswith("https:")
        for _ in range(MAX_REDIRECTS + 1):
            check_key_address(address, secure)
            async with self._open().stream("GET", address, headers=_HEADERS) as response:
                if response.is_redirect:
                    address = _follow(address, response.headers.get("location", ""), secure)
                    continue
                if response.status_code != 200:
                    detail = f"HTTP status {response.status_code}"
                    raise KeysUnusable("http_status", detail, response.status_code)
                return await _read(response)
        raise KeysUnusable("redirect_refused", f"more than {MAX_REDIRECTS} redirects")

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            try:
                trust = ssl.create_default_context(cafile=self._issuer.ca or None)
            except (OSError, ssl.SSLError):
                raise KeysUnusable("file_unreadable", f"{self._issuer.ca} holds no certificates") from None
            # One limit over the whole fetch says more than httpx's limits for each of its steps.
            self._client = httpx.AsyncClient(verify=trust, trust_env=False, timeout=None, follow_redirects=False)
        return self._client

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _follow(address: str, location: str, secure: bool) -> str:
    """Where a redirect leads, if keys may come from there."""
    target = urljoin(address, location)
    try:
        check_key_address(target, secure)
    except KeysUnusable:
        raise KeysUnusable("redirect_refused", "a redirect leads to where https does not hold") from None
    return target


async def _read(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise KeysUnusable("bad_encoding", "the answer is compressed although nobody asked for it")
    data = bytearray()
    async for piece in response.aiter_raw(16384):
        data += piece
        if len(data) > MAX_DOCUMENT:
            raise KeysUnusable("too_large", f"the document is larger than {MAX_DOCUMENT} bytes")
    return bytes(data)


def choose_fetch(issuer: Issuer, monotonic: Callable[[], float]) -> Fetch:
    return FileFetch(issuer) if issuer.jwks_file else HttpFetch(issuer, monotonic)

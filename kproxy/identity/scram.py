"""The client's side of SCRAM (RFC 5802, RFC 7677) as kproxy speaks it to a broker, without channel binding.

``ScramClient`` is bytes in, bytes out; the nonce is an argument. Names and passwords are used as they are written, in
UTF-8 and without SASLprep, because that is what Kafka's own client and broker do; the configuration refuses control
characters in them. A password never leaves this module: the keys made of it stand in a small cache, so that many
connections of one account cost one derivation.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict

from kproxy.errors import BrokerRefusedLogin

HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
#: Kafka refuses to store credentials with fewer, so a broker that asks for fewer is none of ours.
LEAST_ITERATIONS = 4096
#: Kafka stores none with more than 16,384. One derivation with this many takes about 50 ms, and a broker that asked for
#: two thousand million would stop the worker for half an hour.
MOST_ITERATIONS = 65536
LONGEST_MESSAGE = 4096
MOST_KEYS = 64


class SaltedKeys:
    """Client and server keys by what they are derived from; the oldest go first."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[str, bytes, bytes, int], tuple[bytes, bytes]] = OrderedDict()

    def derive(self, hash_name: str, password: bytes, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
        """(client key, server key)."""
        source = (hash_name, hashlib.sha256(password).digest(), salt, iterations)
        found = self._keys.pop(source, None)
        if found is None:
            salted = hashlib.pbkdf2_hmac(hash_name, password, salt, iterations)
            found = (hmac.digest(salted, b"Client Key", hash_name), hmac.digest(salted, b"Server Key", hash_name))
        self._keys[source] = found
        while len(self._keys) > MOST_KEYS:
            self._keys.popitem(last=False)
        return found


class ScramClient:
    """Send ``build_first()``; hand each server message to ``receive`` and send what it gives, until ``done``.

    ``nonce`` is printable ASCII without commas and never used twice. Every method raises BrokerRefusedLogin for a
    message that is refused or that no honest server sends.
    """

    def __init__(self, mechanism: str, username: str, password: str, nonce: str,
                 keys: SaltedKeys | None = None) -> None:
        self._hash = HASHES[mechanism]
        self._password = password.encode()
        self._nonce = nonce
        self._keys = keys or SaltedKeys()
        self._first = f"n={username.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self._signature: bytes | None = None
        self.done = False

    def build_first(self) -> bytes:
        """``n,,``: no channel binding and no other identity than the one that logs in."""
        return f"n,,{self._first}".encode()

    def receive(self, message: bytes) -> bytes | None:
        """The answer to the server's first message; None for its last, after which ``done`` is true."""
        if self.done or len(message) > LONGEST_MESSAGE:
            raise BrokerRefusedLogin("the broker's SCRAM message is out of place or too long")
        try:
            text = message.decode()
        except UnicodeDecodeError:
            raise BrokerRefusedLogin("the broker's SCRAM message is not UTF-8") from None
        if self._signature is None:
            return self._on_first(text)
        self._on_last(text)
        return None

    def _on_first(self, text: str) -> bytes:
        fields = _split(text)
        if [name for name, _ in fields[:3]] != ["r", "s", "i"]:
            # "m" at the start is an extension that whoever does not know it must not go past (RFC 5802 section 5.1).
            raise BrokerRefusedLogin("the broker's first SCRAM message is not r=…,s=…,i=…")
        nonce, written_salt, written_iterations = (value for _, value in fields[:3])
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise BrokerRefusedLogin("the broker's nonce does not go on from ours")
        salt = _decode(written_salt)
        iterations = int(written_iterations) if written_iterations.isascii() and written_iterations.isdigit() else 0
        if not salt or not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise BrokerRefusedLogin(
                f"the broker asks for {written_iterations[:12]} SCRAM iterations; between {LEAST_ITERATIONS} and"
                f" {MOST_ITERATIONS} are taken" if salt else "the broker's salt is empty or no base64")
        client_key, server_key = self._keys.derive(self._hash, self._password, salt, iterations)
        bare = f"c={_encode(b'n,,')},r={nonce}"
        proven = f"{self._first},{text},{bare}".encode()
        signature = hmac.digest(hashlib.new(self._hash, client_key).digest(), proven, self._hash)
        proof = bytes(key ^ sign for key, sign in zip(client_key, signature, strict=True))
        self._signature = hmac.digest(server_key, proven, self._hash)
        return f"{bare},p={_encode(proof)}".encode()

    def _on_last(self, text: str) -> None:
        name, value = _split(text)[0]
        if name == "e":
            raise BrokerRefusedLogin(f"the broker refused the credentials: {value[:80]}")
        assert self._signature is not None
        if name != "v" or not hmac.compare_digest(_decode(value), self._signature):
            raise BrokerRefusedLogin("the broker does not know the password: its signature is wrong")
        self.done = True


def _split(text: str) -> list[tuple[str, str]]:
    """Attributes in their order. A value may hold ``=``, never a comma."""
    found = []
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if len(name) != 1 or not equals:
            raise BrokerRefusedLogin("the broker's SCRAM message is malformed")
        found.append((name, value))
    return found


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    """Strict base64; empty where it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""

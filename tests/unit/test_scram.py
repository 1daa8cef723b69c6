"""SCRAM towards a broker: the vectors of RFC 7677, and servers that no honest broker is."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from kproxy.errors import BrokerRefusedLogin
from kproxy.identity import scram
from kproxy.identity.scram import SaltedKeys, ScramClient

#: RFC 7677 section 3.
NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_LAST = (b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
               b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SERVER_LAST = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def client(mechanism: str = "SCRAM-SHA-256") -> ScramClient:
    return ScramClient(mechanism, "user", "pencil", NONCE)


class Server:
    """RFC 5802 from the other side, written after its section 3, so that SHA-512 has a second opinion too."""

    def __init__(self, hash_name: str, password: str, salt: bytes, iterations: int) -> None:
        self.hash = hash_name
        salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, iterations)
        self.stored = hashlib.new(hash_name, hmac.digest(salted, b"Client Key", hash_name)).digest()
        self.server_key = hmac.digest(salted, b"Server Key", hash_name)
        self.salt, self.iterations = salt, iterations

    def first(self, message: bytes) -> bytes:
        assert message[:3] == b"n,,"
        self.bare = message[3:]
        nonce = self.bare.split(b",r=")[1] + b"SERVER"
        self.sent = b"r=%s,s=%s,i=%d" % (nonce, base64.b64encode(self.salt), self.iterations)
        return self.sent

    def last(self, message: bytes) -> bytes:
        without, _, proof = message.rpartition(b",p=")
        proven = b",".join((self.bare, self.sent, without))
        signature = hmac.digest(self.stored, proven, self.hash)
        key = bytes(one ^ other for one, other in zip(base64.b64decode(proof), signature, strict=True))
        assert hashlib.new(self.hash, key).digest() == self.stored, "the proof is wrong"
        return b"v=" + base64.b64encode(hmac.digest(self.server_key, proven, self.hash))


def test_the_vectors_of_rfc_7677() -> None:
    speaking = client()
    assert speaking.build_first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert speaking.receive(SERVER_FIRST) == CLIENT_LAST
    assert speaking.receive(SERVER_LAST) is None and speaking.done


@pytest.mark.parametrize(("mechanism", "hash_name"), [("SCRAM-SHA-256", "sha256"), ("SCRAM-SHA-512", "sha512")])
@pytest.mark.parametrize("name", ["user", "a=b,c", "ünï"])
def test_both_hashes_against_a_server(mechanism: str, hash_name: str, name: str) -> None:
    server = Server(hash_name, "pässword=,", b"0123456789", 8192)
    speaking = ScramClient(mechanism, name, "pässword=,", "abc")
    first = speaking.build_first()
    assert first == "n,,n={},r=abc".format(name.replace("=", "=3D").replace(",", "=2C")).encode()
    last = speaking.receive(server.first(first))
    assert last is not None
    assert speaking.receive(server.last(last)) is None and speaking.done


@pytest.mark.parametrize(("message", "words"), [
    (SERVER_FIRST.replace(b"r=rOpr", b"r=xOpr"), "nonce does not go on from ours"),
    (b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce does not go on from ours"),
    (SERVER_FIRST.replace(b"i=4096", b"i=4095"), "asks for 4095 SCRAM iterations; between 4096 and 65536"),
    (SERVER_FIRST.replace(b"i=4096", b"i=2000000000"), "asks for 2000000000 SCRAM iterations"),
    (SERVER_FIRST.replace(b"i=4096", b"i=-4096"), "iterations"),
    (SERVER_FIRST.replace(b"i=4096", "i=٤٠٩٦".encode()), "iterations"),
    (SERVER_FIRST.replace(b"s=W22Z", b"s=W2!Z"), "salt is empty or no base64"),
    (b"m=ext," + SERVER_FIRST, "not r="),
    (b"e=unknown-user", "not r="),
    (b"", "malformed"),
    (b"\xff", "not UTF-8"),
    (SERVER_FIRST + b"," * scram.LONGEST_MESSAGE, "too long"),
])
def test_a_first_message_no_honest_broker_sends(message: bytes, words: str) -> None:
    speaking = client()
    with pytest.raises(BrokerRefusedLogin, match=words):
        speaking.receive(message)
    assert not speaking.done


@pytest.mark.parametrize(("message", "words"), [
    (b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "signature is wrong"),
    (b"v=", "signature is wrong"),
    (b"e=invalid-proof", "refused the credentials: invalid-proof"),
    (SERVER_FIRST, "signature is wrong"),
])
def test_a_broker_that_does_not_know_the_password_is_not_ours(message: bytes, words: str) -> None:
    speaking = client()
    speaking.receive(SERVER_FIRST)
    with pytest.raises(BrokerRefusedLogin, match=words):
        speaking.receive(message)
    assert not speaking.done


def test_after_the_end_nothing_more_is_taken() -> None:
    speaking = client()
    speaking.receive(SERVER_FIRST)
    speaking.receive(SERVER_LAST)
    with pytest.raises(BrokerRefusedLogin, match="out of place"):
        speaking.receive(SERVER_FIRST)


def test_one_account_is_derived_once_and_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    derived: list[bytes] = []

    def derive(hash_name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        derived.append(salt)
        return salt * 4

    monkeypatch.setattr(scram.hashlib, "pbkdf2_hmac", derive)
    keys = SaltedKeys()
    for _ in range(3):
        keys.derive("sha256", b"pw", b"one", 4096)
    assert derived == [b"one"]
    assert keys.derive("sha256", b"other", b"one", 4096) == keys.derive("sha256", b"pw", b"one", 4096)
    assert len(derived) == 2, "another password has its own entry"
    for number in range(scram.MOST_KEYS):
        keys.derive("sha256", b"pw", b"salt-%d" % number, 4096)
    keys.derive("sha256", b"pw", b"one", 4096)
    assert derived[-1] == b"one", "the oldest went first"

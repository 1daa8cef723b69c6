"""The TLS link between two protocols that never touch a socket: Python's own TLS is the other side."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from kproxy._ext.tls import TlsLink
from kproxy._ext.tls_context import TlsContext
from tests.support.certificates import Authority
from tests.support.tls_ends import Ends, Inner, Loop

OURS, OTHERS = Authority("ours"), Authority("others")
SERVER, CLIENT = OURS.issue("server", ("kafka.test", "10.1.2.3")), OURS.issue("client ü", ())


def server(client_auth: str = "none", authority: Authority = OURS) -> TlsContext:
    return TlsContext(True, certificates=SERVER[0], key=SERVER[1],
                      authorities=authority.pem if client_auth != "none" else b"", client_auth=client_auth)


def python_client(tmp_path: Path, *, certificate: tuple[bytes, bytes] | None = None,
                  version: ssl.TLSVersion | None = None, trusts: Authority = OURS) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=trusts.pem.decode())
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if certificate is not None:
        pair = tmp_path / "pair.pem"
        pair.write_bytes(certificate[0] + certificate[1])
        context.load_cert_chain(pair)
    return context


def python_server(tmp_path: Path, pair: tuple[bytes, bytes] = SERVER) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = tmp_path / "server.pem"
    file.write_bytes(pair[0] + pair[1])
    context.load_cert_chain(file)
    return context


BOTH = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_bytes_arrive_whole_however_they_are_cut(tmp_path: Path, version: ssl.TLSVersion, piece: int) -> None:
    ends = Ends(server(), python_client(tmp_path, version=version), piece=piece).settle()
    assert (ends.link.state, ends.failures, ends.inner.events) == (1, [], ["made"])
    assert ends.link.get_extra_info("tls_version") == {BOTH[0]: "TLSv1.2", BOTH[1]: "TLSv1.3"}[version]
    sent = bytes(range(256)) * (20 if piece < 100 else 2000)
    ends.other.write(sent)
    ends.settle()
    assert ends.inner.got == sent
    ends.link.writelines([sent[:5], memoryview(sent)[5:40], b"", sent[40:]])
    ends.settle()
    assert ends.read_other() == sent
    assert ends.loop.cancelled == 1, "the handshake's timer is over"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_versions_are_refused(tmp_path: Path, version: ssl.TLSVersion) -> None:
    context = python_client(tmp_path, version=version)
    context.set_ciphers("ALL:@SECLEVEL=0")
    ends = Ends(server(), context).settle()
    assert [cause for cause, _ in ends.failures] == ["tls_handshake_failed"]
    assert ends.inner.got == b""


def test_small_parts_share_a_record_and_one_write(tmp_path: Path) -> None:
    ends = Ends(server(), python_client(tmp_path)).settle()
    before = ends.wire.writes
    ends.link.writelines([b"x" * 100] * 100)
    assert ends.wire.writes == before + 1
    assert len(ends.wire.sent) == 10_000 + 22
    ends.settle()
    ends.link.writelines([b"y" * 10, b"z" * 40_000])
    assert len(ends.wire.sent) == 40_010 + 3 * 22


@pytest.mark.parametrize(("client_auth", "certificate", "cause", "peer"), [
    ("none", None, "", None),
    ("none", CLIENT, "", None),
    ("requested", None, "", None),
    ("requested", CLIENT, "", "CN=client ü"),
    ("requested", OTHERS.issue("stranger", ()), "tls_client_certificate", None),
    ("requested", OURS.issue("late", (), days=-1), "tls_client_certificate", None),
    ("required", None, "tls_client_certificate", None),
    ("required", CLIENT, "", "CN=client ü"),
    ("required", OTHERS.issue("stranger", ()), "tls_client_certificate", None),
], ids=lambda value: "" if isinstance(value, tuple) else str(value))
@pytest.mark.parametrize("version", BOTH)
def test_client_certificates(tmp_path: Path, client_auth: str, certificate: tuple[bytes, bytes] | None, cause: str,
                             peer: str | None, version: ssl.TLSVersion) -> None:
    ends = Ends(server(client_auth), python_client(tmp_path, certificate=certificate, version=version)).settle()
    assert [why for why, _ in ends.failures] == ([cause] if cause else [])
    assert ends.link.peer == peer
    if not cause:
        ends.other.write(b"hello")
        ends.settle()
    assert ends.inner.got == (b"" if cause else b"hello")


@pytest.mark.parametrize("first", [b"\0\0\0\x10\0\x12\0\x03", b"GET / HTTP/1.1\r\n\r\n"])
def test_plaintext_is_called_so(tmp_path: Path, first: bytes) -> None:
    ends = Ends(server(), python_client(tmp_path))
    ends.give(first)
    assert ends.failures == [("plaintext_on_tls", "what came is no TLS")]
    assert ends.inner.got == b"" and not ends.wire.sent


def test_a_handshake_that_stalls_ends_by_its_deadline(tmp_path: Path) -> None:
    ends = Ends(server(), python_client(tmp_path))
    ends.give(b"\x16\x03\x01")
    ((seconds, late),) = ends.loop.timers
    assert seconds == 5.0 and ends.failures == []
    late()
    assert ends.failures == [("tls_handshake_timeout", "the handshake took longer than 5 s")]
    ends.give(b"\x02\x00")
    late()
    assert len(ends.failures) == 1


def test_a_client_that_leaves_during_the_handshake(tmp_path: Path) -> None:
    ends = Ends(server(), python_client(tmp_path))
    assert ends.link.eof_received() is False
    assert [cause for cause, _ in ends.failures] == ["tls_handshake_failed"]
    ends.link.connection_lost(None)
    assert ends.inner.events == ["made", "lost"] and len(ends.failures) == 1


def test_a_harmed_record_ends_the_connection_and_reaches_nobody(tmp_path: Path) -> None:
    ends = Ends(server(), python_client(tmp_path)).settle()
    ends.other.write(b"secret")
    harmed = bytearray(ends.out.read())
    harmed[-1] ^= 1
    ends.give(bytes(harmed))
    assert [cause for cause, _ in ends.failures] == ["tls_broken"] and ends.inner.got == b""
    ends.link.write(b"more")
    assert ends.link.state == 2


def test_reading_pauses_between_two_bytes_and_goes_on(tmp_path: Path) -> None:
    ends = Ends(server(), python_client(tmp_path), room=10).settle()
    ends.inner.on_data = lambda: ends.link.pause_reading()
    ends.other.write(b"0123456789abcdefghij")
    ends.other.write(b"klm")
    ends.settle()
    assert ends.inner.got == b"0123456789" and ends.wire.paused
    for expected in (b"0123456789abcdefghij", b"0123456789abcdefghijklm"):
        ends.link.resume_reading()
        assert not ends.wire.paused
        (go_on,) = ends.loop.soon
        ends.loop.soon.clear()
        go_on()
        assert ends.inner.got == expected
    ends.other.write(b"!")
    ends.settle()
    assert ends.inner.got.endswith(b"klm"), "still paused"


def test_a_farewell_is_sent_and_taken(tmp_path: Path) -> None:
    ends = Ends(server(), python_client(tmp_path)).settle()
    ends.link.close()
    ends.link.close()
    assert ends.wire.closed
    ends.settle()
    assert ends.other.read(10) == b"", "the end was told, not just cut"
    other = Ends(server(), python_client(tmp_path)).settle()
    with pytest.raises(ssl.SSLWantReadError):
        other.other.unwrap()
    other.settle()
    assert other.inner.events == ["made", "eof"] and other.wire.closed and other.failures == []


def test_what_ends_a_connection_is_seen_behind_the_last_bytes(tmp_path: Path) -> None:
    """In one read: nobody may have to say anything more for it to be noticed."""
    ends = Ends(server(), python_client(tmp_path)).settle()
    ends.other.write(b"the last")
    with pytest.raises(ssl.SSLWantReadError):
        ends.other.unwrap()
    ends.give(ends.out.read())
    assert ends.inner.got == b"the last" and ends.inner.events == ["made", "eof"] and ends.wire.closed
    harmed = Ends(server(), python_client(tmp_path)).settle()
    harmed.other.write(b"good")
    harmed.other.write(b"harmed")
    both = bytearray(harmed.out.read())
    both[-1] ^= 1
    harmed.give(bytes(both))
    assert harmed.inner.got == b"good" and [cause for cause, _ in harmed.failures] == ["tls_broken"]


def test_tls_1_2_has_forward_secrecy_and_no_compression(tmp_path: Path) -> None:
    ends = Ends(server(), python_client(tmp_path, version=ssl.TLSVersion.TLSv1_2)).settle()
    assert ends.other.compression() is None
    assert ends.other.cipher()[0].startswith("ECDHE-")


# -- towards a broker --------------------------------------------------------------------------------------------------


def reaching(tmp_path: Path, host: str = "kafka.test", pair: tuple[bytes, bytes] = SERVER,
             authority: Authority = OURS) -> Ends:
    return Ends(TlsContext(False, authorities=authority.pem), python_server(tmp_path, pair), host=host).settle()


@pytest.mark.parametrize("host", ["kafka.test", "10.1.2.3"])
def test_a_broker_is_reached_and_only_then_told_of(tmp_path: Path, host: str) -> None:
    ends = Ends(TlsContext(False, authorities=OURS.pem), python_server(tmp_path), host=host)
    names = []
    ends.other.context.sni_callback = lambda _object, name, _context: names.append(name)
    ends.link.write(b"early")
    assert ends.inner.events == []
    ends.settle()
    assert (ends.inner.events, ends.readies, ends.failures) == (["made"], 1, [])
    assert ends.read_other() == b"early"
    assert names == (["kafka.test"] if host == "kafka.test" else [None])
    ends.other.write(b"answer")
    ends.settle()
    assert ends.inner.got == b"answer"


@pytest.mark.parametrize(("more", "cause", "words"), [
    ({"authority": OTHERS}, "tls_untrusted", "unable to get local issuer certificate"),
    ({"host": "kafka.example.com"}, "tls_hostname_mismatch", "hostname mismatch"),
    ({"host": "10.1.2.4"}, "tls_hostname_mismatch", "IP address mismatch"),
    ({"pair": OURS.issue("late", ("kafka.test",), days=-1)}, "tls_certificate_ended", "certificate has expired"),
    ({"pair": OURS.issue("kafka.test", ())}, "tls_hostname_mismatch", "hostname mismatch"),
    ({"pair": OURS.issue("part", ("ka*.test",))}, "tls_hostname_mismatch", "hostname mismatch"),
])
def test_a_broker_that_is_not_the_one_that_was_meant(tmp_path: Path, more: dict, cause: str, words: str) -> None:
    ends = reaching(tmp_path, **more)
    assert [why for why, _ in ends.failures] == [cause] and words in ends.failures[0][1]
    assert ends.inner.events == [] and ends.readies == 0 and ends.wire.closed


def test_a_broker_that_speaks_no_tls(tmp_path: Path) -> None:
    ends = Ends(TlsContext(False, authorities=OURS.pem), python_server(tmp_path), host="kafka.test")
    ends.give(b"\0\0\0\x0e\0\0")
    assert ends.failures == [("plaintext_on_tls", "what came is no TLS")]


def test_what_a_context_does_not_take() -> None:
    with pytest.raises(ValueError, match="key cannot be read"):
        TlsContext(True, certificates=SERVER[0], key=b"none")
    with pytest.raises(ValueError, match="no certificate in the file"):
        TlsContext(True, certificates=b"none", key=SERVER[1])
    with pytest.raises(ValueError, match="key values mismatch"):
        TlsContext(True, certificates=SERVER[0], key=CLIENT[1])
    with pytest.raises(ValueError, match="key cannot be read"):
        TlsContext(True, certificates=SERVER[0], key=OURS.issue(password=b"pw")[1])
    with pytest.raises(ValueError, match="must know whom"):
        TlsLink(TlsContext(False), Inner(), Loop(), 1.0, lambda *_: None)

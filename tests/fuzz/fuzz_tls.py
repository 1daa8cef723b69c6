"""Invariant: whatever a peer sends as TLS, what arrives is what the peer wrote, in order, and never a byte more.

    python -m tests.fuzz.fuzz_tls --seconds 30 [--seed 1] [FILE ...]

An input is a run of events for one link, as a client or as a server of either version: bytes written on both sides, the
ciphertext harmed, cut in pieces or made up, reading paused, deadlines, farewells. The first byte chooses side and
version, then each event is its kind (u8), its length (u8) and its bytes. Handshakes draw their keys anew, so an input
says what was done rather than which ciphertext was met.
"""

from __future__ import annotations

import contextlib
import random
import ssl
import tempfile

from kproxy._ext.tls_context import TlsContext
from tests.fuzz.harness import Harness, mutate
from tests.support.certificates import Authority
from tests.support.tls_ends import Ends

OURS = Authority("ours")
SERVER = OURS.issue("server", ("kafka.test",))
MOST_EVENTS = 40
#: Record heads of every type, alerts, a handshake's beginning: what a stranger may put anywhere.
PIECES = (b"\x16\x03\x01\x00\x05", b"\x17\x03\x03\x40\x11", b"\x15\x03\x03\x00\x02\x01\x00",
          b"\x15\x03\x03\x00\x02\x02\x28", b"\x14\x03\x03\x00\x01\x01", b"\x17\x03\x03\xff\xff",
          b"\x16\x03\x03\x00\x00", b"\x80\x2e\x01", b"GET / HTTP/1.1\r\n", b"\x00\x00\x00\x10\x00\x12\x00\x03")


def other_side(server: bool, version: ssl.TLSVersion) -> ssl.SSLContext:
    trusting = ssl.create_default_context(cadata=OURS.pem.decode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if server else trusting
    context.minimum_version = context.maximum_version = version
    if server:
        with tempfile.NamedTemporaryFile() as file:
            file.write(SERVER[0] + SERVER[1])
            file.flush()
            context.load_cert_chain(file.name)
    return context


CONTEXTS = [(TlsContext(True, certificates=SERVER[0], key=SERVER[1], authorities=b"", client_auth="none") if ours
             else TlsContext(False, authorities=OURS.pem), other_side(not ours, version))
            for ours in (True, False) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]


class Player:
    """One link and its peer; what either side wrote is remembered."""

    def __init__(self, choice: int) -> None:
        ours, theirs = CONTEXTS[choice % len(CONTEXTS)]
        self.ends = Ends(ours, theirs, host="" if ours.server else "kafka.test", room=1 + choice % 97)
        self.theirs, self.mine = bytearray(), bytearray()
        self.over = False

    def take(self, kind: int, data: bytes) -> None:
        if not (self.over and kind in NEEDS_A_WIRE):
            EVENTS[kind](self, data)
        while self.ends.loop.soon:
            self.ends.loop.soon.pop()()
        self.check()

    def settle(self, data: bytes) -> None:
        self.write_theirs(data)
        self.ends.settle()

    def write_much(self, data: bytes) -> None:
        self.settle(data * 400)

    def cut(self, data: bytes) -> None:
        self.ends.piece = 1 + int.from_bytes(data[:2], "big")

    def write_mine(self, data: bytes) -> None:
        link = self.ends.link
        before = link.state
        link.write(data)
        if before < 2 and not link.is_closing():
            self.mine += data

    def pause(self, _: bytes) -> None:
        if self.ends.inner.transport is not None:
            self.ends.link.pause_reading()

    def resume(self, _: bytes) -> None:
        if self.ends.inner.transport is not None:
            self.ends.link.resume_reading()

    def lose(self, _: bytes) -> None:
        self.over = True
        self.ends.link.connection_lost(None)

    def change_reader(self, data: bytes) -> None:
        """What the inner protocol does whenever it is given bytes."""
        link = self.ends.link
        self.ends.inner.on_data = (lambda: link.write(b"")) if not data else (
            link.close if data[0] & 1 else link.pause_reading)

    def write_theirs(self, data: bytes) -> None:
        """Only once the peer's handshake is done; what it wrote before nobody could read."""
        with contextlib.suppress(ssl.SSLError):
            if data and self.ends.error is None and self.ends.other.cipher():
                self.theirs += data[: self.ends.other.write(data)]

    def put_in(self, data: bytes) -> None:
        self._harm(data, 0)

    def overwrite(self, data: bytes) -> None:
        self._harm(data, len(data) - 1)

    def _harm(self, data: bytes, instead_of: int) -> None:
        honest = self.ends.out.read()
        at = data[0] % (len(honest) + 1) if data else 0
        self.ends.give(honest[:at] + data[1:] + honest[at + max(instead_of, 0):])

    def bid_farewell(self, _: bytes) -> None:
        with contextlib.suppress(ssl.SSLError, ValueError, OSError):
            self.ends.other.unwrap()

    def check(self) -> None:
        ends = self.ends
        assert len(ends.failures) <= 1 and ends.readies <= 1, "told once"
        assert self.theirs.startswith(ends.inner.got), "what arrives is what was written"
        assert ends.inner.events.count("made") <= 1 and ends.inner.events.count("lost") <= 1


EVENTS = (Player.settle, Player.settle, Player.put_in, Player.overwrite, Player.cut, Player.write_mine, Player.pause,
          Player.resume, lambda player, _: player.ends.link.close(), lambda player, _: player.ends.link.late(),
          Player.bid_farewell, lambda player, _: player.ends.link.eof_received(), Player.lose, Player.change_reader,
          Player.write_much)
#: Places in EVENTS: those of two honest sides, made up bytes, those that a lost connection cannot have.
QUIET, RAW = (0, 1, 4, 5, 14), 2
NEEDS_A_WIRE = (0, 1, 2, 3, 11, 12, 14)


def events(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 1
    while len(data) - at >= 2 and len(found) < MOST_EVENTS:
        size = data[at + 1]
        found.append((data[at] % len(EVENTS), data[at + 2 : at + 2 + size]))
        at += 2 + size
    return found


def joined(choice: int, found: list[tuple[int, bytes]]) -> bytes:
    return bytes([choice]) + b"".join(bytes([kind, len(data[:255])]) + data[:255] for kind, data in found)


def check_input(data: bytes) -> str:
    player = Player(data[0] if data else 0)
    quiet = True
    for kind, payload in events(data):
        player.take(kind, payload)
        quiet = quiet and kind in QUIET
    ends = player.ends
    if quiet:
        ends.settle()
        assert not ends.failures and ends.error is None, "two honest sides understand each other"
        assert ends.inner.got == player.theirs, "all of it arrives"
        assert ends.read_other() == player.mine, "all of it is sent"
    return ends.failures[0][0] if ends.failures else ("", "open", "failed", "ended")[ends.link.state] or "handshake"


def make(chance: random.Random) -> bytes:
    found = [(4, chance.randrange(1 << 11).to_bytes(2, "big"))] if chance.random() < 0.3 else []
    found += [(0, b"")] * (chance.random() < 0.8)
    calm = chance.random() < 0.3
    for _ in range(chance.randrange(10)):
        kind = chance.choice(QUIET) if calm else chance.randrange(len(EVENTS))
        known = kind == RAW and chance.random() < 0.7
        found.append((kind, chance.choice(PIECES) if known else chance.randbytes(chance.randrange(60))))
    return joined(chance.randrange(256), found)


def change(data: bytes, chance: random.Random) -> bytes:
    found = events(data)
    at = chance.randrange(len(found) + 1)
    if at < len(found) and chance.random() < 0.5:
        found[at] = (found[at][0], mutate(found[at][1], chance, PIECES))
    elif at < len(found) and chance.random() < 0.4:
        found.insert(chance.randrange(len(found)), found.pop(at))
    else:
        found.insert(at, (chance.randrange(len(EVENTS)), chance.choice(PIECES)))
    return joined(data[0] if data else 0, found)


HARNESS = Harness("tls", make, change, check_input)

if __name__ == "__main__":
    HARNESS.main(__doc__)

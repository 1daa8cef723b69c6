"""Random record sets full of what must be hidden, harmed at every level, and the slow check that nothing of it left.

The plan under test hides the fields of FIELDS and every entity by MARK, and looks at values, headers and their names.
"""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Iterator
from typing import Any

import crc32c

from kproxy._ext import compression, mask
from kproxy.errors import WireError
from kproxy.model.record_plan import Action
from tests.support.batches import Batch, Record, read_batches, repacked, write_batch
from tests.support.codecs import FORMS, NAMES
from tests.support.record_plans import build_plan

#: A word, so that what stands beside a find does not begin to stand alone; `_` is in no domain.
MARK = "_Q_"
FIELDS = ("secret", "user.secret", "items[*].secret", "[*].secret")
CANARIES = ("ann@example.com", "4111 1111 1111 1111", "5555555555554444", "536-22-8712", "DE89370400440532013000",
            "10.20.30.40", "AKIAIOSFODNN7EXAMPLE", "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----")
PLAIN = ("", "x", "hello world", "1700000000000", "Zażółć", "😀", "a\"b\\c", "line\nline", "{}", "id-17", "4111", "@",
         "\t")
PIECES = (b'"', b"\\", b"\\u", b"\\u0040", b"\\ud800", b"{", b"}", b"[", b"]", b":", b",", b"\0", b"\xff",
          b"\xef\xbb\xbf", b'"secret":', b"@", b"4111111111111111", b"1e5", b"null", b"\n")
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')


def hiding_plan(direction: str = "consume", on_unknown: str = "refuse", fields: bool = True, **more: Any) -> mask.Plan:
    hide = Action("replace", text=MARK)
    return build_plan(direction, dict.fromkeys(FIELDS, hide) if fields else {}, dict.fromkeys(mask.ENTITIES, hide),
                      on_unknown=on_unknown, **more)


# -- making ----------------------------------------------------------------------------------------------------------


def random_text(chance: random.Random) -> str:
    pieces = (chance.choice(CANARIES if chance.random() < 0.4 else PLAIN) for _ in range(chance.randint(0, 3)))
    return "".join(piece + chance.choice(("", " ", ",", "\n", "-")) for piece in pieces)


def random_value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(9 if depth < 4 else 6)
    if kind == 6:
        return [random_value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
    if kind > 6:
        names = ("secret", "user", "items", "name", "a.b", "né", "")
        return {chance.choice(names) if chance.random() < 0.9 else random_text(chance): random_value(chance, depth + 1)
                for _ in range(chance.randint(0, 4))}
    return chance.choice([None, True, chance.randrange(10**18), 4111111111111111, 1.5, -0.0, random_text(chance),
                          random_text(chance), json.dumps({"in": random_text(chance)})])


def random_document(chance: random.Random) -> bytes:
    """JSON with random white space, and with characters escaped that need not be."""
    text = json.dumps(random_value(chance), ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, None, 1]))
    if chance.random() < 0.4:
        text = re.sub(r"(?<![\\a-zA-Z0-9+.-])[a-zA-Z@](?=[a-z@.]*[@\w. ]*\")",
                      lambda one: f"\\u{ord(one[0]):04x}" if chance.random() < 0.5 else one[0], text)
    return text.encode("utf-8", "surrogatepass")


def harm(data: bytes, chance: random.Random, most: int = 3) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, most)):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(4)
        if kind == 0 and changed:
            changed[at % len(changed)] = chance.randrange(256)
        elif kind == 1:
            changed[at:at] = chance.choice(PIECES)
        elif kind == 2:
            del changed[at : at + chance.randint(1, 12)]
        else:
            changed[at:at] = changed[: chance.randint(0, 40)]
    return bytes(changed)


def random_record(chance: random.Random, at: int, harmed: bool) -> Record:
    value = random_document(chance) if chance.random() < 0.8 else random_text(chance).encode()
    if harmed and chance.random() < 0.4:
        value = harm(value, chance)
    headers: list[tuple[str, bytes | None]] = [
        (chance.choice(["h", "h", random_text(chance)]), chance.choice([None, b"", random_text(chance).encode()]))
        for _ in range(chance.choice([0, 0, 1, 3]))]
    return Record(value=chance.choice([value, value, value, None]), key=chance.choice([None, b"", b"key-%d" % at]),
                  headers=headers, offset_delta=at * chance.randint(1, 3) if harmed else at,
                  timestamp_delta=chance.randint(-5, 2**40))


def random_batch(chance: random.Random, harmed: bool) -> bytes:
    records = [random_record(chance, at, harmed) for at in range(chance.randint(1, 5))]
    plain = write_batch(records, base_offset=chance.randrange(1 << 40), attributes=chance.choice([0, 0, 8, 16]),
                        producer_id=7, producer_epoch=1, base_sequence=3)
    return repacked(plain, *random_packed(plain[61:], chance))


def random_packed(plain: bytes, chance: random.Random) -> tuple[bytes, int]:
    """The bytes in some form of some codec, and the codec's number."""
    codec = chance.randrange(5)
    return (chance.choice(list(FORMS[NAMES[codec]].values()))(plain), codec) if codec else (plain, 0)


def harm_records(batch: bytes, chance: random.Random) -> bytes:
    """The batch with its records changed as they were before compression, and compressed anew. As it was where it
    cannot be read."""
    if len(batch) <= 61 or batch[22] & 7 > 4:
        return batch
    plain = batch[61:]
    if batch[22] & 7:
        try:
            plain = compression.decompress(NAMES[batch[22] & 7], plain, 1 << 20)
        except WireError:
            return batch
    return repacked(batch, *random_packed(harm(plain, chance), chance))


def harm_batch(batch: bytes, chance: random.Random) -> bytes:
    """Bytes changed behind the head, or the head's own, or cut off; mostly with a checksum and a length that fit."""
    kind = chance.randrange(10)
    if kind == 0:
        return batch[: chance.randrange(len(batch))]
    if kind == 1:
        return harm(batch, chance)
    changed = bytearray(batch[:61] + harm(batch[61:], chance) if kind < 9 else harm(batch, chance).ljust(61, b"\0"))
    struct.pack_into(">i", changed, 8, len(changed) - 12)
    struct.pack_into(">I", changed, 17, crc32c.crc32c(bytes(changed[21:])))
    return bytes(changed)


# -- checking --------------------------------------------------------------------------------------------------------


def split_batches(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        size = struct.unpack_from(">i", data, at + 8)[0] + 12
        assert 61 <= size <= len(data) - at, "only whole batches leave"
        found.append(data[at : at + size])
        at += size
    return found


def finds_in(data: bytes) -> list[bytes]:
    spans = [data[at : at + length] for _, at, length in mask.find_entities(data, mask.ENTITIES, False)]
    return [span for span in spans if MARK.encode() not in span]


def loosely_unescaped(text: str) -> str:
    plain = dict(zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True))
    return _ESCAPE.sub(lambda one: chr(int(one[1], 16)) if one[1] else plain[one[2]], text)


class Members(list[tuple[str, Any]]):
    """An object with its duplicates."""


def strings_of(value: Any) -> Iterator[str]:
    if isinstance(value, Members):
        for name, inner in value:
            yield name
            yield from strings_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_of(inner)
    elif isinstance(value, str):
        yield value


def values_at(value: Any, steps: list[str]) -> Iterator[Any]:
    if not steps:
        yield value
    elif steps[0] == "[*]":
        for inner in value if isinstance(value, list) and not isinstance(value, Members) else ():
            yield from values_at(inner, steps[1:])
    elif isinstance(value, Members):
        for name, inner in value:
            if name == steps[0]:
                yield from values_at(inner, steps[1:])


def check_part(part: bytes | None, fields: bool) -> None:
    """Nothing that the plan hides is in a value or header that left: not as text, not as JSON, not behind escapes."""
    if not part:
        return
    try:
        document = json.loads(part.decode(), strict=False, object_pairs_hook=Members, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        assert not finds_in(part), part
        assert not finds_in(loosely_unescaped(part.decode("latin-1")).encode("utf-8", "surrogatepass")), part
        return
    for string in strings_of(document):
        for read in (string, loosely_unescaped(string)):
            assert not finds_in(read.encode("utf-8", "surrogatepass")), (read, part)
    for path in FIELDS if fields else ():
        for value in values_at(document, path.replace("[*]", ".[*]").strip(".").split(".")):
            assert value is None or value == MARK, (path, value)


def readable(batch: bytes) -> Batch | None:
    """None: a batch that goes on as it came, since it holds no records of users."""
    if batch[22] & 0x20 or len(batch) == 61:
        return None
    return read_batches(batch)[0]


def check_passed(before: bytes, after: bytes, fields: bool = True) -> None:
    """Holds what left against what came."""
    left = split_batches(after)
    came = before
    for batch in left:
        size = struct.unpack_from(">i", came, 8)[0] + 12
        original, came = came[:size], came[size:]
        assert batch[:8] == original[:8] and batch[12:17] == original[12:17] and batch[21:61] == original[21:61]
        now = readable(batch)
        if now is None:
            assert batch == original
            continue
        then = read_batches(original)[0]
        kept = [[(r.key, r.offset_delta, r.timestamp_delta, [value is None for _, value in r.headers], r.value is None)
                 for r in one.records] for one in (then, now)]
        assert kept[0] == kept[1]
        for record in now.records:
            check_part(record.value, fields)
            for name, value in record.headers:
                check_part(name.encode(), False)
                check_part(value, False)

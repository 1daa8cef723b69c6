"""Kafka's own classes as the oracle of records: what Java writes is opened, what is rewritten Java reads to the same
records but for what is hidden, and no harm to the bytes lets Java read what was not looked at."""

from __future__ import annotations

import base64
import json
import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import lz4.frame
import pytest

from kproxy._ext import compression, record_batch
from kproxy.errors import WireError
from kproxy.model.record_plan import Action
from tests.support.batches import read_batches, repacked
from tests.support.codecs import FORMS, NAMES
from tests.support.java import oracle_command
from tests.support.record_plans import REDACT, build_plan

CODECS = [("none", 0), ("gzip", 0), ("gzip", 1), ("gzip", 9), ("snappy", 0), ("lz4", 0), ("lz4", 17), ("zstd", 0),
          ("zstd", -5), ("zstd", 22)]
Oracle = subprocess.Popen[bytes]
DIRECTIONS = ("produce", "consume")
HIDING = {direction: build_plan(direction, fields={"a": REDACT}) for direction in DIRECTIONS}


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    child = subprocess.Popen(oracle_command("RecordOracle"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield child
    child.kill()
    child.communicate()


def text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def ask(oracle: Oracle, asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    assert oracle.stdin is not None and oracle.stdout is not None
    answers = []
    for one in asked:
        oracle.stdin.write(json.dumps(one).encode() + b"\n")
        oracle.stdin.flush()
        answers.append(json.loads(oracle.stdout.readline()))
    return answers


def written(oracle: Oracle, asked: Sequence[dict[str, Any]]) -> list[bytes]:
    return [base64.b64decode(answer["data"]) for answer in ask(oracle, asked)]


def read(oracle: Oracle, sets: Sequence[bytes]) -> list[Any]:
    """The batches of each set, or what Java threw."""
    answers = ask(oracle, [{"do": "read", "data": text(data)} for data in sets])
    return [answer.get("batches", answer.get("error")) for answer in answers]


def record(offset: int, value: bytes | None, **more: Any) -> dict[str, Any]:
    return {"offset": offset, "timestamp": 1_700_000_000_000 + offset, "key": text(b"key-%d" % offset),
            "value": text(value), "headers": [["h", text(b"v")], ["h", None]], **more}


def hidden(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What Java must read afterwards: every `a` redacted, and nothing else changed."""
    for batch in batches:
        for each in batch["records"] if not batch["control"] else ():
            document = json.loads(base64.b64decode(each["value"])) if each["value"] else {}
            if "a" in document:
                document["a"] = ""
                each["value"] = text(json.dumps(document, separators=(",", ":")).encode())
    return batches


def value(n: int, chance: random.Random) -> bytes | None:
    """Every fourth is a tombstone, every other fourth has nothing to hide."""
    if n % 4 == 3:
        return None
    document: dict[str, Any] = {"n": n, "text": "".join(chance.choices("abcdefgh ", k=chance.randrange(1200)))}
    if n % 4:
        document["a"] = f"canary-{n}"
    return json.dumps(document, separators=(",", ":")).encode()


def shapes(codec: str, level: int) -> list[dict[str, Any]]:
    """A producer's batch, an idempotent one, a transactional one, one with gaps and the broker's clock."""
    chance = random.Random(f"{codec} {level}")
    records = [record(n, value(n, chance)) for n in range(120)]
    common = {"do": "write", "codec": codec, "level": level, "records": records}
    producer = {"producer_id": 1 << 40, "producer_epoch": 3, "sequence": 2**31 - 100}
    gaps = [record((1 << 40) + n * n, value(n, chance)) for n in range(60)]
    if level == 22:
        return [common]         # Java takes most of a second for each
    return [common, {**common, **producer}, {**common, **producer, "transactional": True},
            {**common, "base": 1 << 40, "append_time": 1_800_000_000_000, "leader_epoch": 6, "records": gaps}]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_java_writes_is_opened_and_what_is_rewritten_java_reads(oracle: Oracle, direction: str) -> None:
    asked = [shape for codec, level in CODECS for shape in shapes(codec, level)]
    before = written(oracle, asked)
    if direction == "produce":
        # A batch with gaps is a broker's, never a producer's.
        before = [data for data, shape in zip(before, asked, strict=True) if "append_time" not in shape]
    after = []
    for data in before:
        got = HIDING[direction].transform(data)
        assert got.status == "replaced" and got.data is not None, got
        after.append(got.data)
    for then, now in zip(read(oracle, before), read(oracle, after), strict=True):
        assert now == hidden(then)
    assert {batch[22] & 7 for batch in after} == {0, 1, 2, 3, 4}


def test_mixed_batches_markers_and_aborted_data_of_one_partition(oracle: Oracle) -> None:
    chance = random.Random(4)
    sets, at = [], 0
    for codec in NAMES * 2:
        producer = {"producer_id": at, "producer_epoch": 0, "sequence": 0, "transactional": True}
        records = [record(at + n, value(n, chance)) for n in range(10)]
        sets.append({"do": "write", "codec": codec, "base": at, "records": records, **producer})
        sets.append({"do": "mark", "base": at + 10, "producer_id": at, "producer_epoch": 0, "commit": bool(at % 20)})
        at += 11
    pieces = written(oracle, sets)
    whole = b"".join(pieces)
    got = HIDING["consume"].transform(whole + pieces[0][:-1])
    assert got.status == "replaced" and got.data is not None
    [then, now] = read(oracle, [whole, got.data])
    assert now == hidden(then) and [batch["control"] for batch in now] == [False, True] * 10
    assert all(marker in got.data for marker in pieces[1::2]), "markers stay byte for byte"
    assert record_batch.summarise(got.data) == record_batch.summarise(whole)


def test_messages_before_magic_2_fail_closed(oracle: Oracle) -> None:
    asked = [{"do": "write", "codec": codec, "magic": magic, "records": [record(n, b'{"a":"x"}') for n in range(3)]}
             for magic in (0, 1) for codec in ("none", "gzip", "snappy", "lz4")]
    sets = written(oracle, asked)
    assert [data[16] for data in sets] == [0] * 4 + [1] * 4
    modern = written(oracle, [{"do": "write", "codec": "none", "records": [record(9, b'{"n":1}')]}])[0]
    for data in sets:
        for mixed in (data, data + modern):
            got = HIDING["consume"].transform(mixed)
            assert (got.status, got.error_code, got.data) == ("refused", 43, None)
        assert HIDING["consume"].transform(modern + data).data == modern, "what stands before them is given"
        got = HIDING["produce"].transform(data)
        assert (got.status, got.error_code) == ("refused", 87)
        assert build_plan(count_fields=True).transform(data).status == "same"


def test_keys_are_hidden_alike_so_that_compaction_and_partitioning_hold(oracle: Oracle) -> None:
    plan = build_plan(detect={"email": Action("hmac", key="k1")}, parts=("key", "headers"))
    to = [["to", text(b"eve@example.com")]]
    records = [record(n, b"ann@example.com", key=text(b"%s@example.com" % name), headers=to)
               for n, name in enumerate([b"ann", b"bob", b"ann"])]
    for codec in NAMES:
        [before] = written(oracle, [{"do": "write", "codec": codec, "records": records}])
        got = plan.transform(before)
        assert got.data is not None
        [[batch]] = read(oracle, [got.data])
        keys = [base64.b64decode(each["key"]) for each in batch["records"]]
        assert keys[0] == keys[2] != keys[1] and all(key.startswith(b"k1:") and len(key) == 35 for key in keys)
        assert {each["value"] for each in batch["records"]} == {text(b"ann@example.com")}
        assert all(b"eve" not in base64.b64decode(each["headers"][0][1]) for each in batch["records"])


def test_what_is_in_every_form_java_reads_as_we_do(oracle: Oracle) -> None:
    records = [record(n, b'{"n":%d,"a":"x"}' % n) for n in range(2500)]
    [plain] = written(oracle, [{"do": "write", "records": records}])
    kinds = [(codec, form) for codec, forms in FORMS.items() for form in forms]
    sets = [repacked(plain, FORMS[codec][form](plain[61:]), NAMES.index(codec)) for codec, form in kinds]
    linked = repacked(plain, lz4.frame.compress(plain[61:], block_linked=True), 3)
    *answers, refused = read(oracle, [*sets, linked])
    for kind, data, answer in zip(kinds, sets, answers, strict=True):
        assert [each["sequence"] for each in answer[0]["records"]] == [-1] * 2500, kind
        assert HIDING["produce"].transform(data).status == "replaced", kind
    assert "Dependent block stream is unsupported" in refused
    assert HIDING["produce"].transform(linked).status == "refused"


@pytest.mark.parametrize("codec", NAMES[1:])
def test_no_harm_lets_java_read_what_was_not_looked_at(oracle: Oracle, codec: str) -> None:
    """Compressed bytes changed, cut and continued under a right checksum. What is let through Java reads as we do."""
    chance = random.Random(f"harm {codec}")
    [plain] = written(oracle, [{"do": "write", "records": [record(n, b'{"n":%d,"b":"plain"}' % n) for n in range(12)]}])
    secret = b'{"a":"canary"}'
    [more] = written(oracle, [{"do": "write", "records": [record(n, secret) for n in range(12)]}])
    forms = list(FORMS[codec].values())
    sets = []
    while len(sets) < 1500:
        body = bytearray(chance.choice(forms)(plain[61:]))
        kind = chance.randrange(5)
        if kind == 0:
            body += chance.choice(forms)(more[61:])
        elif kind == 1:
            body = bytearray(chance.choice(forms)(plain[61:-40] + more[61:]))
        elif kind == 2:
            at = chance.randrange(len(body))
            body[at:at] = chance.randbytes(chance.randint(1, 4))
        else:
            for _ in range(chance.randint(1, 3)):
                body[chance.randrange(min(len(body), chance.choice([20, 10_000])))] ^= 1 << chance.randrange(8)
        sets.append(repacked(plain, bytes(body), NAMES.index(codec)))
    taken = 0
    for data, answer in zip(sets, read(oracle, sets), strict=True):
        got = HIDING["consume"].transform(data)
        if got.status == "refused" or isinstance(answer, str):
            continue
        taken += 1
        [ours] = read_ours(data)
        assert [each["value"] for each in answer[0]["records"]] == [text(one) for one in ours]
        if got.data is not None:
            assert b"canary" not in compression.decompress(codec, got.data[61:], 1 << 20)
    assert taken > 20


def read_ours(data: bytes) -> list[list[bytes | None]]:
    """Values as kproxy decompresses them."""
    try:
        plain = compression.decompress(NAMES[data[22] & 7], data[61:], 1 << 20)
    except WireError as problem:
        raise AssertionError("it was let through") from problem
    unpacked = bytearray(repacked(data, plain, 0))
    struct.pack_into(">i", unpacked, 57, struct.unpack_from(">i", data, 57)[0])
    return [[each.value for each in batch.records] for batch in read_batches(bytes(unpacked))]

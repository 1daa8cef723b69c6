"""What a record plan does to the records of one partition, byte by byte."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import struct
from typing import Any

import crc32c
import pytest

from kproxy._ext import mask
from kproxy.errors import PolicyError
from kproxy.model.record_plan import Action, DetectRule, FieldRule, RecordPlan
from tests.support.batches import Record, read_batches, write_batch
from tests.support.codecs import NAMES

KEYS = {"k1": b"0123456789abcdef"}
REDACT, MASK4, HMAC, BLOCK = Action("redact"), Action("mask", keep_last=4), Action("hmac", key="k1"), Action("block")
CARD, IBAN = "4111 1111 1111 1111", "DE89370400440532013000"


def plan(
    direction: str = "consume",
    fields: dict[str, Action] | None = None,
    detect: dict[str, Action] | None = None,
    **more: Any,
) -> mask.Plan:
    return mask.Plan(
        mask.compile_plan(
            RecordPlan(
                direction=direction,  # type: ignore[arg-type]
                fields=tuple(
                    FieldRule(tuple(path.replace("[*]", ".[*]").strip(".").split(".")), action, f"f:{path}")
                    for path, action in (fields or {}).items()
                ),
                detectors=tuple(
                    DetectRule(entity, action, f"d:{entity}", "not here") for entity, action in (detect or {}).items()
                ),
                **more,
            ),
            KEYS,
        )
    )


def values_after(made: mask.Plan, *values: bytes | None, codec: int = 0) -> list[bytes | None]:
    got = made.transform(write_batch([Record(value=value) for value in values], codec=codec))
    assert got.status == "replaced", got
    return [record.value for record in read_batches(got.data)[0].records]


def one_after(made: mask.Plan, document: Any) -> Any:
    [value] = values_after(made, json.dumps(document).encode())
    return json.loads(value)


# -- fields ------------------------------------------------------------------------------------------------------------


def test_a_field_is_hidden_and_every_other_byte_stays():
    text = b'{ "user" : {"name":"Ann",  "email": "ann@example.com"}, "n": 1.50 }\n'
    [after] = values_after(plan(fields={"user.email": REDACT}), text)
    assert after == b'{ "user" : {"name":"Ann",  "email": ""}, "n": 1.50 }\n'


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (REDACT, ""),
        (Action("replace", text='<"x">'), '<"x">'),
        (MASK4, "***********.com"),
        (Action("mask", keep_first=2, keep_last=1, character="#"), "an############m"),
        (HMAC, "k1:" + hmac.new(KEYS["k1"], b"ann@example.com", hashlib.sha256).hexdigest()[:32]),
    ],
    ids=["redact", "replace", "mask", "mask both ends", "hmac"],
)
def test_each_action(action: Action, expected: str):
    assert one_after(plan(fields={"email": action}), {"email": "ann@example.com"}) == {"email": expected}


def test_every_occurrence_is_hidden_duplicates_and_escaped_keys_too():
    text = b'{"ssn":"1","s\\u0073n":"2","a":{"ssn":"3"},"ssn":"4"}'
    [after] = values_after(plan(fields={"ssn": REDACT}), text)
    assert after == b'{"ssn":"","s\\u0073n":"","a":{"ssn":"3"},"ssn":""}'


def test_arrays_numbers_booleans_nulls_and_containers():
    made = plan(fields={"items[*].phone": REDACT, "age": MASK4, "ok": REDACT, "none": REDACT, "whole": REDACT})
    assert one_after(
        made,
        {
            "items": [{"phone": "1"}, {"x": 1}, {"phone": 23}],
            "age": 123456,
            "ok": True,
            "none": None,
            "whole": {"a": ["b", "}"]},
        },
    ) == {"items": [{"phone": ""}, {"x": 1}, {"phone": ""}], "age": "**3456", "ok": "", "none": None, "whole": ""}


def test_masking_keeps_whole_characters():
    assert one_after(plan(fields={"n": Action("mask", keep_first=1)}), {"n": "Żółć😀"}) == {"n": "Ż****"}


@pytest.mark.parametrize(
    "broken",
    [
        b" ",
        b"hello",
        b'{"a":1',
        b'{"a":1}}',
        b'{"a":1} x',
        b'{"a":01x}',
        b'{"a":"\xff"}',
        b'{"a":"\\x"}',
        b'{"a" 1}',
        b"[" * 500 + b"]" * 500,
        b'{"a":tru}',
        b'{"a":nul}',
    ],
)
def test_what_is_not_json_to_its_end_is_refused_where_a_field_must_be_hidden(broken: bytes):
    got = plan(fields={"a": REDACT}).transform(write_batch([Record(value=broken)]))
    assert (got.status, got.error_code) == ("refused", 44)
    got = plan("produce", fields={"a": REDACT}).transform(write_batch([Record(value=broken)]))
    assert (got.status, got.error_code, [at for at, _ in got.record_errors]) == ("refused", 87, [0])
    passed = plan(fields={"a": REDACT}, on_unknown="pass").transform(write_batch([Record(value=broken)]))
    assert passed.status == "same"


# -- detectors ---


@pytest.mark.parametrize(
    ("entity", "text", "finds"),
    [
        ("email", "write to ann.lee+x@mail.example.co.uk, now", ["ann.lee+x@mail.example.co.uk"]),
        ("email", "no at sign, @home, a@b", []),
        ("credit_card", f"card {CARD}.", [CARD]),
        ("credit_card", "4111111111111111", ["4111111111111111"]),
        ("credit_card", "378282246310005 5555-5555-5555-4444", ["378282246310005", "5555-5555-5555-4444"]),
        ("credit_card", "4111111111111112 1700000000000 123456789012345678", []),
        ("credit_card", f"{CARD} 2024", [CARD]),
        ("us_ssn", "ssn 536-22-8712, 536 22 8712", ["536-22-8712", "536 22 8712"]),
        (
            "us_ssn",
            "000-12-3456 666-12-3456 900-12-3456 123-00-1234 123-45-0000 1536-22-8712 536-22-87123 536228712",
            [],
        ),
        ("iban", f"to {IBAN} or GB82 WEST 1234 5698 7654 32", [IBAN, "GB82 WEST 1234 5698 7654 32"]),
        ("iban", "DE89370400440532013001 XX89370400440532013000", []),
        ("ipv4", "from 10.0.0.1, 255.255.255.255", ["10.0.0.1", "255.255.255.255"]),
        ("ipv4", "1.2.3.256 1.2.3 1.2.3.4.5 v1.2.3.4x 01.2.3.4", []),
        ("api_key", "AKIAIOSFODNN7EXAMPLE ghp_" + "a1" * 18, ["AKIAIOSFODNN7EXAMPLE", "ghp_" + "a1" * 18]),
        ("api_key", "xAKIAIOSFODNN7EXAMPLE AKIA", []),
        (
            "private_key",
            "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----",
            ["-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----"],
        ),
        (
            "private_key",
            "x -----BEGIN OPENSSH PRIVATE KEY-----\ncut off",
            ["-----BEGIN OPENSSH PRIVATE KEY-----\ncut off"],
        ),
        ("private_key", "-----BEGIN PUBLIC KEY-----\nMII\n-----END PUBLIC KEY-----", []),
    ],
)
def test_detectors_find_what_they_should(entity: str, text: str, finds: list[str]):
    found = mask.Finder((entity,)).find(text.encode())
    assert [text[at : at + length] for _, at, length in found] == finds


def test_detectors_hide_in_json_text_and_headers():
    made = plan(detect={"email": REDACT, "credit_card": MASK4})
    assert one_after(made, {"note": f"ann@example.com paid with {CARD}", "ok": 1}) == {
        "note": " paid with " + "*" * 15 + "1111",
        "ok": 1,
    }
    assert values_after(made, b"plain ann@example.com text") == [b"plain  text"]
    got = made.transform(
        write_batch([Record(value=b"x", headers=[("a", b"ann@example.com"), ("b", None), ("a", b"y")])])
    )
    assert read_batches(got.data)[0].records[0].headers == [("a", b""), ("b", None), ("a", b"y")]


def test_detectors_see_through_json_escapes_and_in_keys_and_numbers():
    made = plan(detect={"email": REDACT, "credit_card": REDACT})
    assert values_after(made, b'{"a":"ann\\u0040example.com","n":4111111111111111}') == [b'{"a":"","n":""}']
    assert values_after(made, b'{"ann@example.com":1}') == [b'{"":1}']


def test_a_field_rule_beats_a_detector():
    assert one_after(plan(fields={"e": HMAC}, detect={"email": REDACT}), {"e": "ann@example.com"})["e"].startswith(
        "k1:"
    )


def test_a_blocked_record_refuses_the_batch_with_its_index_and_message():
    made = plan("produce", detect={"private_key": BLOCK})
    key = b"-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----"
    got = made.transform(write_batch([Record(value=b"ok"), Record(value=key), Record(value=b"ok")]))
    assert (got.status, got.error_code, got.message, got.record_errors) == (
        "refused",
        87,
        "not here",
        [(1, "not here")],
    )
    assert made.record_rules == {"d:private_key": 1}


def test_observing_counts_and_changes_nothing():
    made = plan("produce", fields={"a": REDACT}, detect={"email": BLOCK}, observe=True)
    assert made.transform(write_batch([Record(value=b'{"a":"x","b":"ann@example.com"}')])).status == "same"
    assert made.take_counts()["rules"] == {"f:a": 1, "d:email": 1}


def test_counts_name_paths_entities_and_rules_and_are_taken_once():
    made = plan(fields={"user.email": REDACT}, detect={"ipv4": REDACT}, count_fields=True)
    for _ in range(3):
        made.transform(write_batch([Record(value=b'{"user":{"email":"e","name":"n"},"ip":"10.0.0.1","l":[1,2]}')]))
    assert made.take_counts() == {
        "records": 3,
        "fields_emitted": {"user.name": 3, "l[*]": 6},
        "fields_masked": {"user.email": 3, "ip": 3},
        "entities": {"ipv4": 3},
        "rules": {"f:user.email": 3, "d:ipv4": 3},
    }
    assert made.take_counts() == {"records": 0, "fields_emitted": {}, "fields_masked": {}, "entities": {}, "rules": {}}


def test_paths_from_data_are_bounded():
    made = plan(count_fields=True)
    for n in range(2000):
        made.transform(write_batch([Record(value=json.dumps({f"k{n}": 1}).encode())]))
    counts = made.take_counts()["fields_emitted"]
    assert len(counts) == 513 and sum(counts.values()) == 2000


def test_an_unknown_key_or_entity_is_an_error_when_compiled():
    with pytest.raises(PolicyError, match="k9"):
        plan(fields={"a": Action("hmac", key="k9")})
    with pytest.raises(PolicyError, match="no detector"):
        plan(detect={"shoe_size": REDACT})
    with pytest.raises(PolicyError, match="only hmac, token or block"):
        plan(detect={"email": REDACT}, parts=("key",))


# -- batches ---


@pytest.mark.parametrize("codec", range(5), ids=NAMES)
def test_a_rebuilt_batch_keeps_all_but_length_crc_and_values(codec: int):
    records = [
        Record(
            value=b'{"a":"secret-%d"}' % n,
            key=b"k%d" % n,
            offset_delta=n * 3,
            timestamp_delta=-n,
            headers=[("h", b"v")],
        )
        for n in range(50)
    ]
    before = write_batch(
        records,
        codec=codec,
        base_offset=1 << 40,
        producer_id=7,
        producer_epoch=2,
        base_sequence=9,
        attributes=0x10,
        leader_epoch=5,
        last_offset_delta=200,
        base_timestamp=5000,
        max_timestamp=6000,
    )
    got = plan(fields={"a": REDACT}).transform(before)
    assert got.status == "replaced" and b"secret" not in got.data
    assert got.data[:8] == before[:8] and got.data[12:17] == before[12:17] and got.data[21:61] == before[21:61]
    assert struct.unpack_from(">i", got.data, 8)[0] == len(got.data) - 12
    assert struct.unpack_from(">I", got.data, 17)[0] == crc32c.crc32c(got.data[21:])
    [batch] = read_batches(got.data)
    assert [(r.key, r.offset_delta, r.timestamp_delta, r.headers, r.value) for r in batch.records] == [
        (b"k%d" % n, n * 3, -n, [("h", b"v")], b'{"a":""}') for n in range(50)
    ]
    if codec == 3:
        flags = got.data[61 + 4]
        assert flags & 0b11100011 == 0b01100000, "version 1, independent blocks, reserved bits 0"
    if codec == 2:
        assert got.data[61:69] == b"\x82SNAPPY\0", "the framing that Java takes"


def test_nothing_matched_is_the_same_span():
    assert (
        plan(fields={"a": REDACT}, detect={"email": REDACT})
        .transform(write_batch([Record(value=b'{"b":1}'), Record(value=None)]))
        .status
        == "same"
    )


def test_tombstones_and_empty_values_stay_what_they_are():
    made = plan(fields={"a": REDACT})
    assert values_after(made, None, b"", b'{"a":1}') == [None, b"", b'{"a":""}']


def test_control_and_empty_batches_pass_on_consume():
    control = write_batch([Record(key=b"\0\0\0\1", value=b"\0\0\0\0\0\0")], attributes=0x30)
    empty = write_batch([], last_offset_delta=4)
    masked = write_batch([Record(value=b'{"a":1}')])
    got = plan(fields={"a": REDACT}).transform(control + empty + masked)
    assert got.data.startswith(control + empty)
    assert plan(fields={"a": REDACT}).transform(control + empty).status == "same"


def test_a_truncated_tail_never_leaves():
    whole = write_batch([Record(value=b'{"a":"canary"}')])
    for cut in range(1, len(whole)):
        got = plan(fields={"a": REDACT}).transform(whole + whole[:cut])
        assert got.status == "replaced" and b"canary" not in got.data, cut
        assert len(read_batches(got.data)) == 1


@pytest.mark.parametrize("codec", range(5), ids=NAMES)
def test_a_reader_gets_what_stands_before_a_batch_that_is_refused(codec: int):
    made = plan(fields={"a": REDACT}, count_fields=True)
    clean, hidden = (write_batch([Record(value=value)], codec=codec) for value in (b'{"b":1}', b'{"a":"canary"}'))
    bad = write_batch([Record(value=b'{"a":"canary"}'), Record(value=b"no JSON")], codec=codec)
    assert made.transform(clean + bad).data == clean
    got = made.transform(clean + hidden + bad + hidden)
    assert got.status == "replaced" and [len(one.records) for one in read_batches(got.data)] == [1, 1]
    assert b"canary" not in got.data and got.data.startswith(clean)
    counts = made.take_counts()
    assert (counts["records"], counts["fields_masked"], counts.get("unknown", 0)) == (3, {"a": 1}, 0)
    assert made.transform(bad + clean).error_code == 44, "the refusal comes when it is the batch's turn"
    harmed = bytearray(clean)
    harmed[-1] ^= 1
    assert made.transform(hidden + harmed).data == got.data[len(clean):]
    produced = plan("produce", fields={"a": REDACT}).transform(clean + bad)
    assert (produced.status, produced.error_code) == ("refused", 87)


def test_a_wrong_checksum_is_error_2_and_old_formats_are_43():
    data = bytearray(write_batch([Record(value=b'{"a":1}')]))
    data[-1] ^= 1
    assert plan(fields={"a": REDACT}).transform(bytes(data))[2] == 2
    old = struct.pack(">qi", 0, 30) + b"\0\0\0\0" + b"\x01" + b"\0" * 25
    assert plan(fields={"a": REDACT}).transform(old)[2] == 43
    assert plan("produce", fields={"a": REDACT}).transform(old)[2] == 87


@pytest.mark.parametrize(
    "data",
    [
        b"",
        write_batch([Record(value=b"{}")]) * 2,
        write_batch([], last_offset_delta=0),
        write_batch([Record(value=b"{}")], last_offset_delta=5),
        write_batch([Record(value=b"{}")], attributes=0x20),
    ],
    ids=["empty", "two", "no records", "gap", "control"],
)
def test_produce_shapes_a_broker_refuses_are_87(data: bytes):
    assert plan("produce", fields={"a": REDACT}).transform(data)[2] == 87


def test_every_truncation_of_a_produced_batch_is_refused():
    whole = write_batch([Record(value=b'{"a":"x"}', key=b"k", headers=[("h", b"v")])] * 3)
    made = plan("produce", fields={"a": REDACT})
    for cut in range(len(whole)):
        assert made.transform(whole[:cut]).status == "refused", cut


def test_random_damage_behind_a_right_checksum_is_refused_or_parses():
    chance = random.Random(1)
    whole = write_batch([Record(value=b'{"a":"canary"}', key=b"k", headers=[("h", b"v")])] * 5)
    made = plan(fields={"a": REDACT})
    for _ in range(20_000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(61, len(data))] = chance.randrange(256)
        struct.pack_into(">I", data, 17, crc32c.crc32c(bytes(data[21:])))
        got = made.transform(bytes(data))
        if got.status == "replaced":
            assert len(read_batches(got.data)[0].records) == 5

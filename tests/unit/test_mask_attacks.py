"""What a hostile producer may put into records: nothing to be hidden survives, and nothing costs its square."""

from __future__ import annotations

import json
import resource
import struct
import time

import crc32c
import lz4.frame
import pytest

from kproxy._ext import mask
from kproxy.model.record_plan import Action
from tests.support.batches import Record, read_batches, write_batch
from tests.support.record_plans import BLOCK, REDACT, build_plan, value_after

CARD = "4111111111111111"
EVERY = dict.fromkeys(mask.ENTITIES, REDACT)
ESCAPED = b'"ann\\u0040example.com"'


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 200 + ESCAPED + b"]" * 200,
        b'{"e":' + ESCAPED + b',"x":"\\ud800"}',
        b'{"x":"\xff","e":' + ESCAPED + b"}",
        b'{"e":' + ESCAPED + b"} behind",
        b'{"e":' + ESCAPED + b'}\n{"e":1}\n',
        b"\xef\xbb\xbf{\"e\":" + ESCAPED + b"}",
        b'{"e":' + ESCAPED + b',"n":NaN}',
        b'{"e":' + ESCAPED,
        b'{"e":"\\u0061\\u006e\\u006e\\u0040\\u0065xample.com"',
        b'{"e":"ann@\\u0065xample\\u002ec\\u006Fm',
        b"\\q\\u00zz\\" + ESCAPED + b"\\",
        b"\\u00e9\\u20ac\\ud83d\\ude00" + ESCAPED,
    ],
    ids=["deep", "half a surrogate", "not UTF-8", "junk behind", "lines", "byte order mark", "NaN", "cut off",
         "all escaped", "partly", "no escapes", "wide"],
)
def test_escapes_hide_nothing_where_a_lenient_reader_would_read_json(text: bytes):
    after = value_after(build_plan(detect={"email": REDACT}), text)
    assert after is not None and b"@" not in after and b"0040" not in after and b"xample" not in after
    at = text.index(b"ann") if b"ann" in text else text.index(b"\\u0061")
    assert after.startswith(text[:at]), "what stands before the find is kept"


def test_json_quoted_in_json_is_looked_into():
    inner = json.dumps({"note": f"card\n{CARD}", "e": "ann@example.com"}).replace("@", "\\u0040")
    after = value_after(build_plan(detect={"email": REDACT, "credit_card": REDACT}), json.dumps({"m": inner}).encode())
    assert after is not None
    assert json.loads(json.loads(after)["m"]) == {"note": "card\n", "e": ""}


def test_json_quoted_in_what_is_nearly_json_is_looked_into():
    text = b'{"x":"\\ud800","m":"{\\"note\\":\\"line\\\\n' + CARD.encode() + b'\\"}"}'
    after = value_after(build_plan(detect={"credit_card": REDACT}), text)
    assert after == text.replace(CARD.encode(), b"")


def test_only_what_is_found_behind_an_escape_changes():
    text = b'first\\tline: x\\n' + CARD.encode() + b'\\u0020end "q\\" \\\\ \\u00e9'
    after = value_after(build_plan(detect={"credit_card": Action("mask", keep_last=4)}), text)
    assert after == b'first\\tline: x\\n' + b"*" * 12 + b'1111\\u0020end "q\\" \\\\ \\u00e9'


def test_names_of_headers_are_looked_at_too():
    got = build_plan(detect={"email": REDACT}).transform(
        write_batch([Record(value=b"x", headers=[("to ann@example.com", b"v"), ("plain", None)])])
    )
    assert read_batches(got.data)[0].records[0].headers == [("to ", b"v"), ("plain", None)]


def test_of_overlapping_finds_none_is_shown_by_the_other_ones_action():
    show = Action("mask", keep_first=18)
    after = value_after(build_plan(detect={"email": show, "credit_card": REDACT}), f"{CARD}@example.com".encode())
    assert after == b"*" * 28
    assert value_after(build_plan(detect={"email": show}), b"ann.lee@example.com") == b"ann.lee@example.co*"


def test_a_guard_blocks_beneath_a_mask_and_within_a_hidden_container():
    for text in (f"{CARD}@example.com", json.dumps({"a": {"b": CARD}})):
        detect = {"email": REDACT, "credit_card": BLOCK}
        plan = build_plan("produce", fields={"a": REDACT}, detect=detect, on_unknown="pass")
        got = plan.transform(write_batch([Record(value=text.encode())]))
        assert (got.status, got.error_code, plan.record_rules) == ("refused", 87, {"d:credit_card": 1})


def test_observing_counts_an_overlap_once_as_hiding_does():
    batch = write_batch([Record(value=f"{CARD}@example.com".encode())])
    counts = []
    for observe in (False, True):
        plan = build_plan(detect={"email": REDACT, "credit_card": REDACT}, observe=observe)
        plan.transform(batch)
        counts.append(plan.take_counts()["rules"])
    assert counts == [{"d:email": 1}, {"d:email": 1}]


def test_a_field_rule_within_another_hides_both_and_arrays_at_the_root_too():
    plan = build_plan(fields={"a": REDACT, "a.b": Action("mask", keep_first=3), "[*].s": REDACT, "[*][*]": REDACT})
    assert value_after(plan, b'{"a":{"b":"canary","c":1},"a":[1]}') == b'{"a":"","a":""}'
    assert value_after(plan, b'[{"s":"x","t":2},{"\\u0073":3},["y",[4]]]') == b'[{"s":"","t":2},{"\\u0073":""},["",""]]'


@pytest.mark.parametrize("behind", [b"}", b"]", b",", b" x", b'"', b'"a":1', b"\0", b"\xff"])
def test_a_document_that_fails_late_is_refused_whole(behind: bytes):
    plan = build_plan(fields={"a": REDACT})
    got = plan.transform(write_batch([Record(value=b'{"a":"canary"}' + behind)]))
    assert (got.status, got.error_code, got.data) == ("refused", 44, None)
    assert plan.take_counts()["fields_masked"] == {}


def test_the_same_document_is_the_same_wherever_it_stands_in_memory():
    text = b'{"a":{"x":[1,2.5e3,"\\u0041"]},"b":"canary"}'
    plan = build_plan(fields={"b": REDACT})
    for pad in range(70):
        batch = write_batch([Record(value=text), Record(key=b"k" * pad, value=text + b" " * pad)])
        [first, second] = read_batches(plan.transform(batch).data)[0].records
        assert first.value == text.replace(b"canary", b"") and second.value == first.value + b" " * pad


def seconds_of(plan: mask.Plan, value: bytes) -> float:
    batch = write_batch([Record(value=value)])
    began = time.thread_time()
    plan.transform(batch)
    return time.thread_time() - began


TIMES = 16
SLOW_TEXTS = {
    "digits": (b"1", 1_000_000),
    "at signs": (b"@", 1_000_000),
    "domains": (b"a@b.", 250_000),
    "groups": (b"1 ", 100_000),
    "card groups": (b"4111 ", 100_000),
    "IBAN prefixes": (b"GB82 ", 50_000),
    "dots": (b"1.", 100_000),
    "addresses": (b"1.1.1.1 ", 100_000),
    "key heads": (b"-----BEGIN ", 100_000),
    "escapes": (b"\\u0040", 100_000),
    "random letters": (b"q7Z0 kA1", 100_000),
}


@pytest.mark.parametrize("name", SLOW_TEXTS)
def test_time_grows_with_the_text_and_not_with_its_square(name: str):
    piece, count = SLOW_TEXTS[name]
    plan = build_plan(detect=EVERY)
    small = max(min(seconds_of(plan, piece * (count // TIMES)) for _ in range(3)), 0.0005)
    assert min(seconds_of(plan, piece * count) for _ in range(2)) < small * TIMES * 4


def test_a_find_that_spans_many_strings_costs_each_of_them_once():
    plan = build_plan(detect=EVERY)

    def document(count: int) -> bytes:
        return json.dumps({"k": "-----BEGIN PRIVATE KEY-----", "a": ["1.1.1.1"] * count}).encode()

    assert json.loads(value_after(plan, document(3)) or b"") == {"k": "", "a": [""] * 3}
    small = max(min(seconds_of(plan, document(2_000)) for _ in range(3)), 0.0005)
    assert seconds_of(plan, document(32_000)) < small * TIMES * 4


def test_short_values_that_become_long_ones_are_refused_before_they_fill_the_memory():
    plan = build_plan(fields={"[*]": Action("replace", text="x" * 1000)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    got = plan.transform(write_batch([Record(value=b"[" + b"1," * 2_000_000 + b"1]")]))
    assert (got.status, got.error_code) == ("refused", 10)
    # Written out they would be 2 GB; kB here.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_200_000


def test_long_names_are_not_kept_by_the_hundred():
    plan = build_plan(count_fields=True)
    text = b"{" + b",".join(b'"%03d%s":1' % (n, b"k" * 20_000) for n in range(400)) + b"}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plans = [build_plan(count_fields=True) for _ in range(20)]
    for one in [plan, *plans]:
        one.transform(write_batch([Record(value=text)]))
        assert one.take_counts()["fields_emitted"] == {"…": 400}
    # Twenty sessions that kept each name would hold 320 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_count_or_length_that_the_bytes_cannot_hold_is_refused_at_once():
    whole = write_batch([Record(value=b'{"a":"canary"}')])
    for at, value in ((57, 2**31 - 1), (57, -1), (57, -(2**31)), (8, 2**31 - 1), (8, -1)):
        data = bytearray(whole)
        struct.pack_into(">i", data, at, value)
        struct.pack_into(">I", data, 17, crc32c.crc32c(bytes(data[21:])))
        got = build_plan(fields={"a": REDACT}).transform(bytes(data))
        assert b"canary" not in (got.data or b"") and got.status != "same", (at, value)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff" * 10,                                       # a varint that does not end
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",        # the longest length
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",        # the smallest, below zero
        b"\x10\0\0\0\x03\x01\x00\0\0",                      # a key of -2 bytes
        b"\x12\0\0\0\x01\x01\xfe\xff\xff\xff\x0f",          # 2^31-1 headers
        b"\x10\0\0\0\x01\x01\x01\0\0",                      # -1 headers
        b"\x12\0\0\0\x01\x01\x02\x01\x01",                  # a header whose name is null
    ],
)
def test_records_whose_numbers_lie_are_refused(body: bytes):
    data = bytearray(write_batch([Record()])[:61] + body)
    struct.pack_into(">i", data, 8, len(data) - 12)
    struct.pack_into(">I", data, 17, crc32c.crc32c(bytes(data[21:])))
    got = build_plan(fields={"a": REDACT}, detect=EVERY).transform(bytes(data))
    assert (got.status, got.error_code, got.message) == ("refused", 2, "kproxy: the records of a batch are malformed")


def test_a_frame_of_many_parts_or_with_more_behind_it_is_refused():
    head = write_batch([Record(value=b"{}")], codec=3)
    frame = head[61:]
    skippable = struct.pack("<II", 0x184D2A50, 4) + b"skip"
    for body in (frame + frame, frame + b"\0", frame[:-1], skippable, b"", lz4.frame.compress(b"")):
        data = bytearray(head[:61] + body)
        struct.pack_into(">i", data, 8, len(data) - 12)
        struct.pack_into(">I", data, 17, crc32c.crc32c(bytes(data[21:])))
        assert build_plan(fields={"a": REDACT}).transform(bytes(data)).status == "refused", body

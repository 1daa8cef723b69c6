"""Compressed batches under record rules: each codec is opened and kept, within limits, where a version may carry it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import lz4.frame
import pytest

from kproxy._ext import mask
from kproxy.model.record_plan import FieldRule, RecordPlan
from kproxy.model.settings import Limits
from tests.support.batches import Record, read_batches, repacked, write_batch
from tests.support.bombs import BOMBS, bomb_batch, zstd_bomb
from tests.support.codecs import FORMS, NAMES, unpack
from tests.support.desk import Desk
from tests.support.record_plans import REDACT, build_plan

EVERY = [(codec, form) for codec, forms in FORMS.items() for form in forms]
DIRECTIONS = ("produce", "consume")
SECRET = [Record(value=b'{"a":"canary-%d","n":%d}' % (n, n), key=b"k%d" % n) for n in range(200)]
CLEAN = [Record(value=b'{"n":%d}' % n) for n in range(200)]


def batch_of(records: list[Record], codec: str, form: str | None = None, **head: int) -> bytes:
    plain = write_batch(records, **head)
    write = FORMS[codec][form] if form else next(iter(FORMS[codec].values()))
    return repacked(plain, write(plain[61:]), NAMES.index(codec))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("codec", "form"), EVERY)
def test_every_form_is_looked_into_and_the_codec_is_kept(codec: str, form: str, direction: str) -> None:
    head = {"producer_id": 7, "producer_epoch": 1, "base_sequence": 40, "attributes": 0x10}
    before = batch_of(SECRET, codec, form, **head)
    got = build_plan(direction, fields={"a": REDACT}).transform(before)
    assert got.status == "replaced" and got.data is not None
    assert got.data[:8] == before[:8] and got.data[12:17] == before[12:17] and got.data[21:61] == before[21:61]
    [batch] = read_batches(got.data)
    assert batch.attributes & 7 == NAMES.index(codec)
    assert [record.value for record in batch.records] == [b'{"a":"","n":%d}' % n for n in range(200)]
    assert b"canary" not in unpack(NAMES.index(codec), got.data[61:])


@pytest.mark.parametrize(("codec", "form"), EVERY)
def test_a_batch_without_a_find_is_the_same_span(codec: str, form: str) -> None:
    plan = build_plan(fields={"a": REDACT}, count_fields=True)
    assert plan.transform(batch_of(CLEAN, codec, form)).status == "same"
    assert plan.take_counts()["fields_emitted"] == {"n": 200}


def test_batches_of_all_codecs_in_one_partition_are_each_their_own() -> None:
    empty = write_batch([], base_offset=600, last_offset_delta=4)
    control = write_batch([Record(key=b"\0\0\0\1", value=b"\0" * 6)], base_offset=605, attributes=0x30)
    parts = [batch_of(SECRET if at % 2 else CLEAN, codec, base_offset=at * 200, last_offset_delta=250)
             for at, codec in enumerate(FORMS)]
    got = build_plan(fields={"a": REDACT}).transform(b"".join([*parts, empty, control, parts[1][:-3]]))
    assert got.status == "replaced" and got.data is not None
    batches = read_batches(got.data)
    assert [batch.base_offset for batch in batches] == [0, 200, 400, 600, 600, 605]
    assert [batch.attributes & 7 for batch in batches] == [1, 2, 3, 4, 0, 0]
    assert [batch.last_offset_delta for batch in batches[:5]] == [250] * 4 + [4]
    assert got.data.startswith(parts[0]) and parts[2] in got.data and got.data.endswith(empty + control)
    assert not any(b"canary" in (record.value or b"") for batch in batches for record in batch.records)


@pytest.mark.parametrize("codec", FORMS)
def test_gaps_tombstones_headers_and_append_times_are_kept(codec: str) -> None:
    records = [Record(value=[None, b"", b'{"a":"x"}'][n % 3], key=b"k", offset_delta=n * n, timestamp_delta=-n,
                      headers=[("h", None), ("h", b"v")]) for n in range(30)]
    before = batch_of(records, codec, base_offset=1 << 40, attributes=8, last_offset_delta=2000, leader_epoch=9)
    got = build_plan(fields={"a": REDACT}).transform(before)
    assert got.data is not None
    [after] = read_batches(got.data)
    assert (after.base_offset, after.attributes, after.last_offset_delta) == (1 << 40, 8 | NAMES.index(codec), 2000)
    for record, original in zip(after.records, records, strict=True):
        assert record.value == (b'{"a":""}' if original.value else original.value)
        assert (record.key, record.headers, record.offset_delta, record.timestamp_delta) \
            == (original.key, original.headers, original.offset_delta, original.timestamp_delta)


def test_a_compressed_batch_emptied_by_compaction_passes() -> None:
    for codec in FORMS:
        for data in (batch_of([], codec, last_offset_delta=9), repacked(write_batch([]), b"", NAMES.index(codec))):
            assert build_plan(fields={"a": REDACT}).transform(data).status == "same"


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "code"), [("produce", 76), ("consume", 2)])
def test_a_codec_that_kafka_does_not_have_is_refused(direction: str, code: int) -> None:
    for codec in (5, 6, 7):
        got = build_plan(direction, fields={"a": REDACT}).transform(repacked(write_batch(CLEAN), b"x", codec))
        assert (got.status, got.error_code) == ("refused", code)


@pytest.mark.parametrize(("direction", "code"), [("produce", 87), ("consume", 2)])
@pytest.mark.parametrize("codec", FORMS)
def test_bytes_that_are_not_of_the_codec_are_refused(codec: str, direction: str, code: int) -> None:
    plan = build_plan(direction, fields={"a": REDACT})
    whole = batch_of(SECRET, codec)
    others = [batch_of(SECRET, other)[61:] for other in FORMS if other != codec]
    bad = [b"", b"x", whole[61:-1], whole[61:] + b"\0", *others]
    for body in bad:
        got = plan.transform(repacked(whole, body))
        assert (got.status, got.error_code) == ("refused", code), body[:20]
    assert plan.transform(whole).status == "replaced"


@pytest.mark.parametrize("codec", FORMS)
def test_records_beyond_or_below_the_count_are_refused(codec: str) -> None:
    plain = write_batch(SECRET)[61:]
    for body in (plain + write_batch(CLEAN[:1])[61:], plain[:-1], plain + b"\0", plain[7:]):
        packed = next(iter(FORMS[codec].values()))(body)
        got = build_plan(fields={"a": REDACT}).transform(repacked(batch_of(SECRET, codec), packed))
        assert (got.error_code, got.message) == (2, "kproxy: the records of a batch are malformed")


def test_linked_lz4_blocks_are_refused_of_a_producer_as_by_kafka_and_opened_for_a_consumer() -> None:
    plain = write_batch(SECRET * 20)     # more than one block: a single one is never linked
    for body, said in ((lz4.frame.compress(plain[61:], block_linked=True), 0x40),
                       (lz4.frame.compress(plain[61:], block_linked=False), 0x60)):
        assert body[4] & 0x60 == said
        data = repacked(plain, body, 3)
        produced = build_plan("produce", fields={"a": REDACT}).transform(data)
        assert (produced.status, produced.error_code) == (("refused", 87) if said == 0x40 else ("replaced", 0))
        assert build_plan(fields={"a": REDACT}).transform(data).status == "replaced"


def test_every_cut_of_a_compressed_batch_is_refused_of_a_producer_and_dropped_for_a_consumer() -> None:
    for codec in FORMS:
        whole = batch_of(SECRET[:9], codec)
        produce, consume = build_plan("produce", fields={"a": REDACT}), build_plan(fields={"a": REDACT})
        for cut in range(1, len(whole)):
            assert produce.transform(whole[:cut]).status == "refused"
            assert consume.transform(whole[:cut]).data == b""


@pytest.mark.parametrize("version", [3, 6, 7, 12])
def test_zstd_is_of_produce_7_and_later(version: int) -> None:
    desk = Desk("write topic t", plan=build_plan("produce", fields={"a": REDACT}))
    sent = {"acks": -1, "timeout_ms": 9, "topic_data": [{"name": "t", "partition_data": [
        {"index": 0, "records": batch_of(SECRET, "zstd")}]}]}
    treatment, out = desk.request(0, version, sent)
    if version >= 7:
        assert treatment == "replace"
        assert b"canary" not in unpack(4, out["topic_data"][0]["partition_data"][0]["records"][61:])
    else:
        assert treatment == "answer"
        assert out["responses"][0]["partition_responses"][0]["error_code"] == 76


@pytest.mark.parametrize("version", [4, 9, 10, 12])
def test_zstd_is_of_fetch_10_and_later_and_one_bad_partition_is_only_itself(version: int) -> None:
    desk = Desk("read topic *", plan=build_plan(fields={"a": REDACT}))
    sets = [batch_of(SECRET, "zstd"), batch_of(SECRET, "lz4"), batch_of(SECRET, "gzip")[:-1] + b"?",
            batch_of(CLEAN, "snappy")]
    answered = [{"partition_index": at, "error_code": 0, "high_watermark": 200, "last_stable_offset": 200,
                 "aborted_transactions": [{"producer_id": 7, "first_offset": 3}], "records": data}
                for at, data in enumerate(sets)]
    asked = [{"partition": at, "fetch_offset": 0, "partition_max_bytes": 1 << 20} for at in range(4)]
    _, answer = desk.response_after(
        1, version, {"replica_id": -1, "max_wait_ms": 1, "min_bytes": 1, "session_epoch": -1,
                     "topics": [{"topic": "t", "partitions": asked}]},
        {"responses": [{"topic": "t", "partitions": answered}]})
    told = answer["responses"][0]["partitions"]
    assert [one["error_code"] for one in told] == [0 if version >= 10 else 76, 0, 2, 0]
    assert told[3]["records"] == sets[3] and told[2]["records"] == b"" and told[2]["high_watermark"] == -1
    assert told[1]["aborted_transactions"][0]["producer_id"] == 7 and told[1]["high_watermark"] == 200
    for one in told[:2]:
        for batch in read_batches(one["records"]):
            assert all(b"canary" not in (record.value or b"") for record in batch.records)


# -- bombs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", BOMBS)
def test_a_mebibyte_that_says_it_is_gigabytes_costs_little_time_and_memory(codec: str) -> None:
    """zstd's holds 32 GiB. Snappy cannot lie by more than 22 times, so its own is read, and is no records."""
    command = [sys.executable, "-m", "tests.support.bombs", codec]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == "refused" and told["error_code"] == (2 if codec == "snappy" else 44)
    assert 900_000 < told["sent"] < 1_100_000
    # 100 times the mebibyte, and not more than one step of growth besides.
    assert told["grown"] < 200_000, told
    assert told["seconds"] < 2, told


@pytest.mark.parametrize(("direction", "code"), [("produce", 87), ("consume", 44)])
def test_what_is_larger_than_allowed_says_so(direction: str, code: int) -> None:
    got = build_plan(direction, fields={"a": REDACT}).transform(bomb_batch("zstd", zstd_bomb(64 << 20)))
    assert (got.error_code, got.message) == (
        code, "kproxy: a compressed batch is larger than is allowed when decompressed")


@pytest.mark.parametrize("codec", FORMS)
def test_limits_are_the_configured_ones_to_the_byte(codec: str) -> None:
    batch = batch_of(CLEAN, codec)
    plain, sent = len(write_batch(CLEAN)) - 61, len(batch) - 61
    rules = RecordPlan(direction="consume", fields=(FieldRule(("a",), REDACT, "r"),))

    def status(**limits: int) -> str:
        return mask.Plan(mask.compile_plan(rules, {}, Limits(**limits))).transform(batch).status

    assert status(records_max_bytes=plain) == "same"
    assert status(records_max_bytes=plain - 1) == "refused"
    assert status(records_any_ratio_bytes=plain, records_max_ratio=1) == "same"
    assert status(records_any_ratio_bytes=plain - 1, records_max_ratio=1) == "refused"
    assert status(records_any_ratio_bytes=1, records_max_ratio=plain // sent + 1) == "same"
    assert status(records_any_ratio_bytes=1, records_max_ratio=plain // sent) == "refused"


def test_thousands_of_small_bombs_in_one_frame_do_not_add_up() -> None:
    plan = build_plan("produce", fields={"a": REDACT}, on_unknown="pass")
    plain = write_batch([Record(value=b" " * (4_000_000))])
    small = repacked(plain, FORMS["zstd"]["sized"](plain[61:]), 4)
    assert len(small) < 500 and plan.transform(small).status == "same", "by itself it is within limits"
    honest = batch_of(SECRET, "zstd")
    sets = [small] * 2000 + [honest]
    desk = Desk("write topic t", plan=plan)
    began = time.thread_time()
    treatment, out = desk.request(0, 9, {"acks": -1, "timeout_ms": 9, "topic_data": [{"name": "t", "partition_data": [
        {"index": at, "records": data} for at, data in enumerate(sets)]}]})
    assert time.thread_time() - began < 3, "they hold 8 GB"
    assert treatment == "replace"
    passed = [one["index"] for one in out["topic_data"][0]["partition_data"]]
    # Eight times what one may have, and a hundred times what was sent.
    room = 8 * (4 << 20) + 100 * (len(small) * 2000 + len(honest))
    assert len(passed) <= room // 4_000_000 + 1 and passed[:8] == list(range(8))
    assert desk.request(0, 9, {"acks": -1, "timeout_ms": 9, "topic_data": [{"name": "t", "partition_data": [
        {"index": 0, "records": honest}]}]})[0] == "replace", "the next frame begins anew"

"""Keys, headers and whole values: what rules that name them hide, whatever they hold."""

from __future__ import annotations

import pytest

from kproxy._ext import mask
from kproxy.errors import PolicyError
from kproxy.model.record_plan import Action, DetectRule, FieldRule, HeaderRule, RecordPlan
from kproxy.policy.load import load
from tests.support.batches import Record, read_batches, write_batch
from tests.support.record_plans import BLOCK, KEYS, REDACT, build_plan

HMAC, MASK = Action("hmac", key="k1"), Action("mask", keep_last=2)


def after(record: Record, **rules: object) -> Record:
    plan = build_plan(**rules)  # type: ignore[arg-type]
    batch = write_batch([record])
    got = plan.transform(batch)
    assert got.status != "refused", got.message
    return read_batches(got.data or batch)[0].records[0]


def header(name: str, action: Action) -> HeaderRule:
    return HeaderRule(tuple(name.split("*")), action, f"h:{name}")


def test_a_key_that_is_named_whole_is_hashed_whatever_it_is():
    rules = (FieldRule((), HMAC, "k"),)
    keys = (b"ann", b"42", b'{"a":1}', b"\xff\x00")
    found = {key: after(Record(key=key, value=b"{}"), key_fields=rules).key for key in keys}
    assert len(set(found.values())) == 4
    assert all(key is not None and key.startswith(b"k1:") and len(key) == 35 for key in found.values())
    assert after(Record(key=b"ann", value=b"other"), key_fields=rules, on_unknown="pass").key == found[b"ann"]
    assert after(Record(key=None, value=b"{}"), key_fields=rules).key is None
    assert after(Record(key=b"", value=b"{}"), key_fields=rules).key == b""


def test_a_path_reads_into_the_key_and_the_value_stays():
    record = Record(key=b'{"user":"ann","n":1}', value=b'{"user":"ann"}')
    got = after(record, key_fields=(FieldRule(("user",), HMAC, "k"),))
    assert got.value == record.value
    assert got.key is not None and got.key.startswith(b'{"user":"k1:') and got.key.endswith(b',"n":1}')


def test_a_key_that_is_not_json_is_unknown_where_a_path_reads_into_it():
    plan = build_plan("produce", key_fields=(FieldRule(("user",), HMAC, "k"),))
    got = plan.transform(write_batch([Record(key=b"ann", value=b"{}")]))
    assert (got.status, got.error_code) == ("refused", 87)
    lenient = build_plan("produce", key_fields=(FieldRule(("user",), HMAC, "k"),), on_unknown="pass")
    assert lenient.transform(write_batch([Record(key=b"ann", value=b"{}")])).status == "same"
    assert lenient.take_counts()["unknown"] == 1


def test_headers_are_hidden_by_name_and_nulls_stay():
    record = Record(value=b"{}", headers=[
        ("x-user-id", b"ann-17"), ("x-user-mail", None), ("trace", b"ann-17"), ("x-user-", b"")])
    got = after(record, headers=(header("x-user-*", MASK),))
    assert got.headers == [("x-user-id", b"****17"), ("x-user-mail", None), ("trace", b"ann-17"), ("x-user-", b"")]


@pytest.mark.parametrize(("glob", "fits", "fits_not"), [
    ("*", ["", "a"], []), ("a*", ["a", "ab"], ["b", "ba"]), ("*a", ["a", "ba"], ["ab"]),
    ("a*b", ["ab", "aab"], ["a", "aba"]),
    ("a*b*c", ["abc", "axbxc"], ["ac", "acb", "acb c "]), ("ab*ba", ["abba"], ["aba"]), ("a", ["a"], ["", "aa"]),
    ("*x*x*", ["xx", "axbx"], ["x", "ax"]),
])  # fmt: skip
def test_names_of_headers_fit_as_globs_do(glob: str, fits: list[str], fits_not: list[str]):
    for name in (*fits, *fits_not):
        got = after(Record(value=b"{}", headers=[(name, b"value")]), headers=(header(glob, REDACT),))
        assert got.headers == [(name, b"" if name in fits else b"value")]


def test_what_blocks_blocks_in_a_header_that_is_hidden_too():
    plan = build_plan("produce", headers=(header("x", REDACT),), detect={"email": BLOCK})
    got = plan.transform(write_batch([Record(value=b"{}", headers=[("x", b"mail ann@example.com")])]))
    assert (got.status, got.error_code, got.record_errors) == ("refused", 87, [(0, "not here")])
    assert plan.transform(write_batch([Record(value=b"{}", headers=[("x", b"mail")])])).status == "replaced"


@pytest.mark.parametrize(("value", "left"), [
    (b'{"a":1}', b'"#"'), (b"no json", b"#"), (b"\xff\xfe", b"#"), (b'"text"', b'"#"'), (b"null", b"null")])
def test_the_whole_value_is_hidden_also_where_it_is_not_json(value: bytes, left: bytes):
    assert after(Record(value=value), fields={}, allow_lists=()).value == value
    plan = RecordPlan("consume", fields=(FieldRule((), Action("replace", text="#"), "w"),))
    batch = write_batch([Record(value=value)])
    got = mask.Plan(mask.compile_plan(plan, KEYS)).transform(batch)
    assert read_batches(got.data or batch)[0].records[0].value == left


def test_nothing_is_changed_where_it_is_only_observed():
    record = Record(key=b"ann", value=b"x", headers=[("x", b"v")])
    plan = build_plan(observe=True, key_fields=(FieldRule((), HMAC, "k"),), headers=(header("x", REDACT),))
    assert plan.transform(write_batch([record])).status == "same"
    assert plan.take_counts()["rules"] == {"k": 1, "h:x": 1}


def test_what_is_hidden_of_keys_counts_under_a_path_of_its_own():
    plan = build_plan(key_fields=(FieldRule(("user",), HMAC, "k"),))
    plan.transform(write_batch([Record(key=b'{"user":"ann"}', value=b"{}")]))
    assert plan.take_counts()["fields_masked"] == {"key:user": 1}


def test_on_keys_only_what_keeps_them_apart():
    for rule in (RecordPlan("consume", key_fields=(FieldRule((), REDACT, "k"),)),
                 RecordPlan("consume", detectors=(DetectRule("email", REDACT, "d"),), parts=("key",))):
        with pytest.raises(PolicyError, match="on keys only hmac, token or block is possible"):
            mask.compile_plan(rule, KEYS)


@pytest.mark.parametrize(("rule", "words"), [
    ("fields_except: [a], action: redact}, {name: n, topics: [t], fields: [b], action: {replace: x}",
     "'m' and 'n' do two things to the field b; name it in fields_except of 'm'"),
    ("fields_except: [a], action: redact}, {name: n, topics: [t], fields_except: [b], action: {replace: x}",
     "do two things to every field that neither names"),
    ("fields: ['**.ssn'], action: redact}, {name: n, topics: [t], fields: [user.ssn], action: {replace: x}",
     "do two things to the field **.ssn"),
    ("fields: ['a[*].b'], action: redact}, {name: n, topics: [t], fields: ['a[*]'], action: {replace: x}",
     "do two things to the field a[*].b"),
    ("header_names: ['x-*'], action: redact}, {name: n, topics: [t], header_names: ['*-user'], action: {replace: x}",
     "do two things to the header x-*"),
    ("fields_except: ['$'], action: redact", "fields_except names the whole value, so nothing is hidden"),
    ("key_fields: ['$'], action: redact",
     "redact on keys would move records to other partitions: only hmac, token or block there"),
    ("fields: ['by_mail.~'], action: redact",
     "redact would give several members of one object the same name: only hmac, token or block on by_mail.~"),
])  # fmt: skip
def test_rules_that_cannot_be_kept_are_told(rule: str, words: str):
    with pytest.raises(PolicyError) as refused:
        load({"p.yaml": f"masks: [{{name: m, topics: [t], {rule}}}]".encode()})
    assert words in str(refused.value)


def test_a_list_and_a_rule_for_what_it_names_go_together():
    made = load({"p.yaml": b"""masks:
      - {name: m, topics: [t], fields_except: [id, user.email], action: redact}
      - {name: n, topics: [t], fields: [user.email], action: {replace: x}, header_names: ['x-*']}
      - {name: o, topics: [t], key_fields: ['$'], action: {hmac: {key: k1}}}"""})
    assert made.masks[0].fields_except == (("id",), ("user", "email")) and made.masks[1].header_names == ("x-*",)
    assert made.masks[2].key_fields == ((),)

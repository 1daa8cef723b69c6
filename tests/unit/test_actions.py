"""Actions beyond what they make of one value: tokens read back, keys that change, finds in a text."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kproxy import policy
from kproxy._ext import mask
from kproxy.errors import PolicyError
from kproxy.model.record_plan import Action, DetectRule, FieldRule, RecordPlan
from tests.support.batches import Record, read_batches, write_batch
from tests.support.policies import facts
from tests.support.slow_actions import seal

KEYS = {"k1": b"0123456789abcdef", "k2": bytes(range(64))}
TOKEN, CLEAR, REDACT = Action("token", key="k1"), Action("clear", key="k1"), Action("redact")
DROP, BLOCK = Action("drop_field"), Action("block")


def build(fields: dict[str, Action] | None = None, detect: dict[str, Action] | None = None, **more: Any) -> mask.Plan:
    return mask.Plan(mask.compile_plan(RecordPlan(
        "consume", fields=tuple(FieldRule(tuple(path.split(".")), action, f"f:{path}")
                                for path, action in (fields or {}).items()),
        detectors=tuple(DetectRule(entity, action, f"d:{entity}") for entity, action in (detect or {}).items()),
        **more), KEYS))


def after(plan: mask.Plan, value: str, status: str = "replaced") -> str:
    batch = write_batch([Record(value=value.encode())])
    got = plan.transform(batch)
    assert got.status == status, got
    [record] = read_batches(got.data or batch)[0].records
    return (record.value or b"").decode()


def token(said: str, key: str = "k1") -> str:
    return seal(key, KEYS, said)


def test_the_oracle_of_tokens_is_the_rfcs():
    """RFC 5297 appendix A.1."""
    key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    associated = bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627")
    made = AESSIV(key).encrypt(bytes.fromhex("112233445566778899aabbccddee"), [associated])
    assert made.hex() == "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"


@pytest.mark.parametrize("size", [1, 32, 64, 100])
def test_keys_are_derived_as_rfc_5869_has_it(size: int):
    assert mask.derive_key(b"secret of some length", b"purpose", size) == HKDF(
        hashes.SHA256(), size, salt=None, info=b"purpose").derive(b"secret of some length")


@pytest.mark.parametrize(
    "written", ['"ann"', "42", "-1.50e3", "true", '{"x": [1, "\\u00e9"]}', "[ ]", '""', '"\\"\\n"'])
def test_a_token_gives_back_what_it_was_made_of(written: str):
    sealed = after(build({"a": TOKEN}), f'{{"a": {written}, "b": 1}}')
    assert sealed.startswith('{"a": "kproxy:t1:k1:') and sealed.endswith('", "b": 1}')
    assert json.loads(after(build({"a": CLEAR}), sealed)) == json.loads(f'{{"a": {written}, "b": 1}}')
    if written[0] not in "\"":
        assert after(build({"a": CLEAR}), sealed) == f'{{"a": {written}, "b": 1}}'


def test_a_token_stays_the_same_wherever_it_goes():
    once = after(build({"a": TOKEN}), '{"a":"ann"}')
    assert after(build({"a": TOKEN}), once, "same") == once
    assert after(build({"a": Action("token", key="k2", old_keys=("k1",))}), once, "same") == once
    # What only looks like one, and what a key of another rule made, is a value like any other.
    assert after(build({"a": Action("token", key="k2")}), once).startswith('{"a":"kproxy:t1:k2:')
    forged = once[:-3] + ("A" if once[-3] != "A" else "B") + once[-2:]
    assert after(build({"a": TOKEN}), forged) != forged


def test_a_new_key_has_a_new_prefix_and_the_old_one_is_still_read():
    new = Action("token", key="k2", old_keys=("k1",))
    assert after(build({"a": new}), '{"a":"ann"}').startswith('{"a":"kproxy:t1:k2:')
    clear = Action("clear", key="k2", old_keys=("k1",))
    for key in KEYS:
        assert after(build({"a": clear}), f'{{"a":"{token("0ann", key)}"}}') == '{"a":"ann"}'
    first, second = (after(build({"a": Action("hmac", key=key)}), '{"a":"ann"}') for key in KEYS)
    assert first.startswith('{"a":"k1:') and second.startswith('{"a":"k2:') and first[9:] != second[9:]


@pytest.mark.parametrize("harm", ["k2", "altered", "cut", "longer", "not canonical"])
def test_what_no_key_of_the_rule_made_stays_and_is_counted(harm: str):
    good = token("0ann@example.com")
    at = len(good) // 2 + 10
    bad = {"k2": token("0ann", "k2"), "altered": good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1:],
           "cut": good[:-1], "longer": good + "A", "not canonical": token("0a")[:-1] + "_"}[harm]
    for plan in (build({"a": CLEAR}), build(detect={"token": CLEAR})):
        text = f'{{"a":"{bad}"}}'
        if harm == "longer" and plan.program.plan.detectors:
            assert after(plan, text) == '{"a":"ann@example.comA"}'
            continue
        assert after(plan, text, "same") == text
        counts = plan.take_counts()
        has_form = harm not in ("cut", "longer")     # the others have no token's length
        assert counts.get("unread_tokens", 0) == has_form and not counts["fields_masked"]


def test_tokens_within_a_text_are_read_wherever_the_text_goes_on():
    mail = token("0ann@example.com")
    plan = build(detect={"token": CLEAR})
    assert after(plan, f'{{"a":"to {mail}-and {mail}, n {token("142")}"}}') == \
        '{"a":"to ann@example.com-and ann@example.com, n 42"}'
    assert after(plan, f"no JSON: {mail}!") == "no JSON: ann@example.com!"
    assert after(plan, f'{{"a":"{mail.replace(":", chr(92) + "u003a")}"}}') == '{"a":"ann@example.com"}'
    assert after(plan, f'{{"a":"{token("142")}"}}') == '{"a":42}'
    assert plan.take_counts()["fields_masked"] == {}
    sealed = after(build(detect={"email": TOKEN}), '{"a":"to ann@example.com-and"}')
    assert after(plan, sealed) == '{"a":"to ann@example.com-and"}'


def test_what_another_rule_hides_is_not_cleared():
    sealed = f'{{"a":"{token("0ann@example.com")}","b":"{token("0Ann")}"}}'
    for detect in ({"email": REDACT, "token": CLEAR}, {"email": BLOCK, "token": CLEAR}):
        expected = f'{{"a":"{token("0ann@example.com")}","b":"Ann"}}'
        assert after(build(detect=detect), sealed) == expected
        assert after(build({"a": CLEAR, "b": CLEAR}, {"email": detect["email"]}), sealed) == expected
    # A field that no token stands in is under the other rule as any is.
    assert after(build({"a": CLEAR}, {"email": REDACT}), '{"a":"ann@example.com"}') == '{"a":""}'


def test_bytes_that_are_no_text_stay_a_token_in_json():
    said = b"5\xff"
    made = AESSIV(mask.derive_key(KEYS["k1"], b"kproxy token", 64)).encrypt(said, [b"kproxy:t1:k1:"])
    text = "kproxy:t1:k1:" + base64.urlsafe_b64encode(b"\x02" + made).decode().rstrip("=")
    assert after(build({"a": CLEAR}), f'{{"a":"{text}"}}') == f'{{"a":"{text}"}}'


def test_a_cleared_value_is_counted_as_shown():
    plan = build({"a": CLEAR}, count_fields=True)
    after(plan, f'{{"a":"{token("0ann")}","b":1}}')
    assert plan.take_counts() == {"records": 1, "fields_emitted": {"a": 1, "b": 1}, "fields_masked": {}, "entities": {},
                                  "rules": {"f:a": 1}}


def test_a_find_takes_its_field_with_it():
    plan = build(detect={"email": DROP})
    assert after(plan, '{"a":1,"b":"mail ann@example.com","c":["ann@example.com",2]}') == '{"a":1,"c":[2]}'
    assert after(plan, '{"b":"ann\\u0040example.com"}') == "{}"
    assert after(plan, '"ann@example.com"') == "null"
    assert after(plan, "mail ann@example.com") == "mail "
    assert after(plan, '{"ann@example.com":1}') == '{"":1}'
    assert after(build({"x": DROP}, {"email": REDACT}), '{"y":0,"x":"ann@example.com","z":1}') == '{"y":0,"z":1}'


def test_the_type_of_a_find_or_the_name_of_a_rule_takes_its_place():
    typed = Action("replace_with_type")
    plan = build({"name": typed}, {"email": typed, "credit_card": typed})
    assert after(plan, '{"name":"Ann","note":"ann@example.com 4111 1111 1111 1111"}') == \
        '{"name":"[f:name]","note":"[email] [credit_card]"}'


@pytest.mark.parametrize(("value", "expected"), [
    ('"4111 1111 1111 1234"', '"0000 0000 0000 1234"'),
    ('"Ann.Smith+x9@mail.example.co.uk"', '"Xxx.Xxxxx+x0@xxxx.xxxxxle.co.uk"'),
    ('"+48 601-234-567"', '"+00 000-004-567"'), ("123456789", "100006789"), ("-0.125", "-1.000"),
    ("-90.125", "-10.125"), ("true", "false"), ('"---"', '""'),
    ('"Zażółć"', '"Xxżółć"'), ('{"a":1}', '""'), ("null", "null")])
def test_masked_values_keep_their_format(value: str, expected: str):
    plan = build({"a": Action("mask", keep_last=4, keep_format=True, character="")})
    text = f'{{"a":{value}}}'
    assert after(plan, text, "same" if value == "null" else "replaced") == f'{{"a":{expected}}}'


def test_one_entity_is_shifted_by_one_number_of_days():
    plan = build({"on": Action("date_shift", days=30, key="k1", per=("user", "id"))})
    made = [json.loads(after(plan, json.dumps({"on": on, "user": {"id": user}})))["on"]
            for user in ("ann", "bob")
            for on in ("2024-02-28", "2024-03-28T10:00:00.250+02:00", 1709078400, 1709078400000)]
    days = [int(made[at + 2] - 1709078400) // 86400 for at in (0, 4)]
    assert days[0] != days[1] and all(0 < abs(one) <= 30 for one in days)
    assert made[3] == 1709078400000 + days[0] * 86400000 and made[1].endswith("T10:00:00.250+02:00")


POLICY = """
roles:
  reader: {members: {groups: [reader]}, allow: [{operations: [read, write], topics: ["*"]}]}
  analyst: {members: {groups: [analyst]}, allow: [{operations: [read, write], topics: ["*"]}]}
  auditor: {members: {groups: [auditor]}, allow: [{operations: [read], topics: ["*"]}]}
masks:
  - {name: people, topics: [t], fields: [user], detect: [email], except_roles: [auditor],
     clear_for: [analyst], action: {token: {key: k1}}%s}
"""


def planned(text: str, roles: list[str], direction: str = "consume") -> mask.Plan:
    made = policy.compile(policy.load({"p.yaml": text.encode()}))
    plan = made.plan_for_roles(roles, facts(), "t", direction, now=0.0)  # type: ignore[arg-type]
    return mask.Plan(mask.compile_plan(plan, KEYS))


def test_who_reads_tokens_in_clear_and_who_does_not():
    clear = '{"user":"Ann","note":"mail ann@example.com"}'
    written = after(planned(POLICY % "", ["analyst"], "produce"), clear)
    assert written.count("kproxy:t1:k1:") == 2
    assert after(planned(POLICY % "", ["reader"]), written, "same") == written
    assert after(planned(POLICY % "", ["auditor"]), written, "same") == written
    assert after(planned(POLICY % "", ["analyst"]), written) == clear
    assert after(planned(POLICY % "", ["analyst", "auditor"]), written) == clear
    assert after(planned(POLICY % "", ["reader"]), clear) == written
    assert after(planned(POLICY % "", ["analyst"]), clear, "same") == clear
    assert after(planned(POLICY % "", ["analyst"]), "no JSON", "same") == "no JSON"


def test_a_condition_that_is_in_error_or_false_clears_nothing():
    written = after(planned(POLICY % "", ["reader"], "produce"), '{"user":"Ann"}')
    for condition in ("attested.run == 'x'", "1 / 0 == 0", "topic.name == 'other'"):
        text = POLICY % f", when: \"{condition}\""
        assert after(planned(text, ["analyst"]), written, "same") == written
    in_error = POLICY % ', when: "1 / 0 == 0"'
    assert after(planned(in_error, ["analyst"]), '{"user":"Ann"}') == written


def test_another_mask_of_the_same_action_keeps_its_tokens_from_those_it_does_not_clear_for():
    text = POLICY % "" + "  - {name: more, topics: [t], fields: [user], action: {token: {key: k1}}}\n"
    written = after(planned(text, ["reader"], "produce"), '{"user":"Ann"}')
    assert after(planned(text, ["analyst"]), written, "same") == written


def problems(action: str, more: str = "") -> str:
    text = f"masks: [{{name: m, topics: [t], fields: [a], action: {action}{more}}}]\n"
    text += "roles: {r: {members: {groups: [g]}}}\n"
    try:
        policy.load({"p.yaml": text.encode()})
    except PolicyError as error:
        return " / ".join(one.message for one in error.problems)
    return ""


@pytest.mark.parametrize(("action", "more", "told"), [
    ("redact", "", ""), ("replace_with_type", "", ""), ("drop_field", "", ""), ("{hash: {key: k1}}", "", ""),
    ("{mask: {keep_format: true, keep_last: 2}}", "", ""),
    ("{token: {key: k1, old_keys: [k0]}}", ", clear_for: [r]", ""),
    ("{date_shift: {days: 30, key: k1, per: user.id}}", "", ""), ("{bucket: {size: 0.5}}", "", ""),
    ("{bucket: {ranges: [{to: 18, as: minor}, {from: 18, to: 65}, {from: 65, as: 65}]}}", "", ""),
    ("token", "", "write {token: …}"), ("{token: {}}", "", "'key' is missing"), ("shred", "", "'shred' is not one of"),
    ("{token: {key: 'a:b'}}", "", "cannot stand in a token"),
    ("{token: {key: k1, old_keys: [k1]}}", "", "none of old_keys"),
    ("{date_shift: {days: 0, key: k1}}", "", "not between 1 and"), ("{date_shift: {days: 3}}", "", "'key' is missing"),
    ("{date_shift: {days: 3, key: k1, per: 'a[*].b'}}", "", "names of members"),
    ("{bucket: {size: 0}}", "", "more than 0"), ("{bucket: {}}", "", "either size or ranges"),
    ("{bucket: {size: 5, ranges: [{from: 1, to: 2}]}}", "", "either size or ranges"),
    ("{bucket: {ranges: [{from: 5, to: 5}]}}", "", "no number is 5 or more and less than 5"),
    ("{bucket: {ranges: [{from: 5}]}}", "", "says what it becomes"),
    ("{bucket: {ranges: [{as: x}]}}", "", "from, to or both"),
    ("{bucket: {ranges: [{from: 5, to: 9}, {from: 8, to: 10}]}}", "", "do not overlap"),
    ("{bucket: {size: 1e3}}", "", "is no number"),
    ("redact", ", clear_for: [r]", "the action is redact"),
    ("{token: {key: k1}}", ", clear_for: [x]", "role 'x' is not defined"),
    ("{token: {key: k1}}", ", clear_for: [r], except_roles: [r]", "in clear_for and in except_roles"),
    ("{token: {key: k1}}", ", clear_for: [r], directions: [produce]", "leave consume out"),
    ("drop_field", ", header_names: [x]", "nothing would be left"),
    ("drop_field", ", key_fields: [x]", "only hmac, token or block"),
    ("{token: {key: k1}}", ", key_fields: [x]", ""), ("{shred: {}}", "", "unknown key 'shred'"),
])
def test_what_an_action_may_be_is_told_when_it_is_loaded(action: str, more: str, told: str):
    found = problems(action, more)
    assert told in found and bool(told) == bool(found), found

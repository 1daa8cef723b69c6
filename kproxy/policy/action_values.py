"""What a mask does to what it finds, as a policy writes it."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise

from kproxy.model.record_plan import Action, Bucket
from kproxy.policy import field_paths
from kproxy.policy.rule_values import field_path
from kproxy.yaml_nodes import Section, Value, Wrong, boolean, integer, some_text, text, tuple_of

_WORDS = ("redact", "replace_with_type", "drop_field", "block")
_MAPPINGS = ("replace", "mask", "hmac", "hash", "token", "date_shift", "bucket")
#: Actions after which values that differed still differ, and equal ones are equal.
DISTINCT = ("hmac", "token", "block")
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,9})?")
#: A shift hides nothing that is known to within so many days; ten years are enough for anybody.
_MOST_DAYS = 3660


def action(value: Value) -> Action:
    """A word (``redact``), or a mapping of one entry (``{mask: {keep_last: 4}}``)."""
    if value.kind() == "text":
        word = text(value)
        if word not in _WORDS:
            hint = f"; write {{{word}: …}}" if word in _MAPPINGS else ""
            raise Wrong(value, f"{word!r} is not one of {', '.join(_WORDS)}{hint}")
        return Action(kind=word)  # type: ignore[arg-type]
    section = Section(value)
    if len(section.entries) != 1:
        words = ", ".join((*_WORDS, *(f"{{{name}: …}}" for name in _MAPPINGS)))
        raise Wrong(value, f"an action is one of {words}")
    if "replace" in section.entries:
        return Action(kind="replace", text=section.take("replace", text, ""))
    for name, read in (("mask", _mask), ("hmac", _hmac), ("hash", _hmac), ("token", _token),
                       ("date_shift", _date_shift), ("bucket", _bucket)):
        options = section.section(name)
        if options is not None:
            found = read(options)
            options.close()
            return found
    section.take("replace", text, "")
    section.close()
    return Action(kind="redact")


def _mask(section: Section) -> Action:
    keep_format = section.take("keep_format", boolean, False)
    return Action(
        kind="mask",
        keep_first=section.take("keep_first", integer(0, 1 << 20), 0),
        keep_last=section.take("keep_last", integer(0, 1 << 20), 0),
        # With its format kept a letter is hidden by a letter and a digit by a digit, if nobody says by what.
        character=section.take("character", _character, "" if keep_format else "*"),
        keep_format=keep_format,
    )


def _hmac(section: Section) -> Action:
    return Action(kind="hmac", key=section.need("key", some_text, ""))


def _token(section: Section) -> Action:
    found = Action(
        kind="token",
        key=section.need("key", _token_key, ""),
        old_keys=section.take("old_keys", tuple_of(_token_key), ()),
    )
    if found.key in found.old_keys:
        section.value.complain(f"{found.key!r} makes the tokens, so it is none of old_keys")
    return found


def _date_shift(section: Section) -> Action:
    return Action(
        kind="date_shift",
        days=section.need("days", integer(1, _MOST_DAYS), 1),
        key=section.need("key", some_text, ""),
        per=section.take("per", _member_path, ()),
    )


def _bucket(section: Section) -> Action:
    if ("size" in section.entries) == ("ranges" in section.entries):
        section.value.complain("a bucket has either size or ranges")
    size = section.take("size", _decimal, "")
    if size and Decimal(size) <= 0:
        section.value.complain("size must be more than 0")
    ranges: tuple[Bucket, ...] = section.take("ranges", tuple_of(_range), ())
    for before, after in pairwise(ranges):
        if not before.end or not after.start or Decimal(before.end) > Decimal(after.start):
            section.value.complain("ranges stand in order and do not overlap")
    return Action(kind="bucket", size=size, ranges=ranges)


def _range(value: Value) -> Bucket:
    """What a range becomes is its bounds, as Google DLP writes them, unless ``as`` says otherwise."""
    section = Section(value)
    start, end = section.take("from", _decimal, ""), section.take("to", _decimal, "")
    default = f"{start}-{end}" if start and end else ""
    found = Bucket(start, end, section.take("as", _scalar, default))
    section.close()
    if not start and not end:
        raise Wrong(value, "a range has from, to or both")
    if start and end and Decimal(start) >= Decimal(end):
        raise Wrong(value, f"no number is {start} or more and less than {end}")
    if not found.text:
        raise Wrong(value, "a range without an end says what it becomes: as")
    return found


def _scalar(value: Value) -> str:
    """Text or a number, as it is written."""
    if value.kind() in ("a mapping", "a list"):
        raise Wrong(value, "expected text or a number")
    return str(value.node.value)


def _decimal(value: Value) -> str:
    found = _scalar(value)
    if not _DECIMAL.fullmatch(found):
        raise Wrong(value, f"{found!r} is no number such as 10 or -0.5 (18 digits, and 9 behind the dot, at most)")
    return found


def _token_key(value: Value) -> str:
    found = some_text(value)
    if not _KEY_ID.fullmatch(found):
        raise Wrong(value, f"{found!r} cannot stand in a token: letters, digits, '_', '.' and '-', 64 at most")
    return found


def _member_path(value: Value) -> field_paths.Path:
    path = field_path(value)
    if not path or not {"[*]", "*", "**", field_paths.NAMES}.isdisjoint(path):
        raise Wrong(value, "per names one value of the record, by names of members: user.id")
    return path


def _character(value: Value) -> str:
    found = some_text(value)
    if len(found) != 1 or ord(found) < 0x20 or found in '"\\':
        raise Wrong(value, "the masking character is one character that JSON needs no escape for")
    return found

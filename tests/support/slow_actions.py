"""What actions make of values: slow and obvious, with nothing of the native engine in it.

A document is a tree: ("object", [(name, tree), …]) with its duplicates, ("array", [tree, …]), ("text", str), and
("number", token) and ("word", token) as they are written.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import date, timedelta
from decimal import ROUND_FLOOR, Decimal, localcontext
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kproxy.model.record_plan import Action

Tree = tuple[str, Any]
GONE: Tree = ("gone", None)
KINDS = {"text": "0", "number": "1", "word": "2", "object": "4", "array": "4"}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ISO = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]{1,9})?)?"
                  r"(?:[Zz]|[+-]([0-9]{2})(?::?([0-9]{2}))?)?)?")
_EMAIL = re.compile(r"[^@ \t\r\n]+@[^@ \t\r\n]*?[^@ \t\r\n](\.[A-Za-z]{2,24})")


def read(text: str) -> Tree:
    """The tree of a JSON text. Raises ValueError for what is none."""
    def tree(value: Any) -> Tree:
        if isinstance(value, tuple):
            kind, found = value
            return (kind, [(name, tree(inner)) for name, inner in found]) if kind == "object" else (kind, found)
        if isinstance(value, list):
            return ("array", [tree(inner) for inner in value])
        if isinstance(value, str):
            return ("text", value)
        return ("word", json.dumps(value))

    def number(token: str) -> Tree:
        return ("number", token)

    return tree(json.loads(text, object_pairs_hook=lambda pairs: ("object", pairs), parse_int=number,
                           parse_float=number, parse_constant=lambda word: json.loads("?")))


def write(tree: Tree) -> str:
    kind, value = tree
    if kind == "object":
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{write(inner)}" for name, inner in value) + "}"
    if kind == "array":
        return "[" + ",".join(map(write, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if kind == "text" else str(value)


def hide_in(tree: Tree, rules: dict[tuple[str, ...], Action], keys: dict[str, bytes], whole: Tree | None = None,
            path: tuple[str, ...] = ()) -> Tree:
    """The document with every value hidden that stands at one of the paths of ``rules``, whose names are ``f:PATH``."""
    whole = whole or tree
    kind, value = tree
    if path in rules and (tree != ("word", "null") or rules[path].kind == "drop_field"):
        action = rules[path]
        return hide(action, tree, entity_of(whole, action.per), keys, f"f:{'.'.join(path)}")
    if kind == "object":
        hidden = [(name, hide_in(inner, rules, keys, whole, (*path, name))) for name, inner in value]
        return ("object", [(name, inner) for name, inner in hidden if inner != GONE])
    if kind == "array":
        elements = [hide_in(inner, rules, keys, whole, (*path, "[*]")) for inner in value]
        return ("array", [inner for inner in elements if inner != GONE])
    return tree


def entity_of(tree: Tree, path: tuple[str, ...]) -> str:
    for name in path:
        found = [inner for other, inner in tree[1] if other == name] if tree[0] == "object" else []
        if not found:
            return ""
        tree = found[-1]
    is_leaf = path and tree[0] in ("text", "number", "word") and tree != ("word", "null")
    return str(tree[1]) if is_leaf else ""


def hide(action: Action, tree: Tree, entity: str, keys: dict[str, bytes], name: str) -> Tree:
    """What stands in the value's place, or GONE."""
    kind = tree[0]
    plain = str(tree[1]) if kind in ("text", "number", "word") else write(tree)
    if action.kind == "drop_field":
        return GONE
    if action.kind == "token":
        return ("text", plain if open_token(plain, action, keys) else seal(action.key, keys, KINDS[kind] + plain))
    if action.kind == "clear":
        opened = open_token(plain, action, keys)
        return tree if opened is None else read(opened[1:]) if opened[0] != "0" else ("text", opened[1:])
    if action.kind == "mask" and action.keep_format:
        return keep_shape(action, kind, plain)
    if action.kind in ("date_shift", "bucket"):
        done = bucket(action, plain) if action.kind == "bucket" else shift_date(action, kind, plain, entity, keys)
        return ("number" if kind == "number" and _NUMBER.fullmatch(done) else "text", done)
    made = {"redact": "", "replace": action.text, "replace_with_type": f"[{name}]"}
    if action.kind == "mask":
        made["mask"] = mask(action, plain)
    if action.kind == "hmac":
        digest = hmac.new(keys[action.key], plain.encode(), hashlib.sha256).hexdigest()
        made["hmac"] = f"{action.key}:{digest[:32]}"
    return ("text", made[action.kind])


def derived(key: bytes, purpose: str, size: int) -> bytes:
    return HKDF(hashes.SHA256(), size, salt=None, info=f"kproxy {purpose}".encode()).derive(key)


def seal(key_id: str, keys: dict[str, bytes], said: str) -> str:
    start = f"kproxy:t1:{key_id}:"
    made = AESSIV(derived(keys[key_id], "token", 64)).encrypt(said.encode(), [start.encode()])
    size, length = b"", len(said.encode())
    while length > 0x7F:
        size, length = size + bytes((length & 0x7F | 0x80,)), length >> 7
    return start + base64.urlsafe_b64encode(size + bytes((length,)) + made).decode().rstrip("=")


def open_token(text: str, action: Action, keys: dict[str, bytes]) -> str | None:
    """The kind and the value that a token was made of."""
    found = re.fullmatch(r"(kproxy:t1:([A-Za-z0-9_.-]{1,64}):)([A-Za-z0-9_-]+)", text)
    if not found or found[2] not in (action.key, *action.old_keys):
        return None
    try:
        made = base64.urlsafe_b64decode(found[3] + "=" * (-len(found[3]) % 4))
        start = len(re.match(rb"[\x80-\xff]*", made)[0]) + 1  # type: ignore[index]
        siv = AESSIV(derived(keys[found[2]], "token", 64))
        said = siv.decrypt(made[start:], [found[1].encode()]).decode()
    except (InvalidTag, ValueError):
        return None
    return said if seal(found[2], keys, said) == text else None


def mask(action: Action, plain: str) -> str:
    first, last = action.keep_first, action.keep_last
    if first + last >= len(plain):
        first = last = 0
    hidden = action.character * (len(plain) - first - last)
    return plain[:first] + hidden + plain[len(plain) - last:]


def keep_shape(action: Action, kind: str, plain: str) -> Tree:
    if kind == "word":
        return ("word", "false")
    email = _EMAIL.fullmatch(plain) if kind == "text" else None
    end = email.start(1) if email else len(plain)

    def is_hidden(character: str) -> bool:
        return bool(re.match("[0-9]" if kind == "number" else r"[0-9A-Za-z]|[^\x00-\x7f]", character))

    places = [at for at, character in enumerate(plain[:end]) if is_hidden(character)]
    if not places or kind in ("object", "array"):
        return ("text", "")
    first, last = action.keep_first, action.keep_last
    if first + last >= len(places):
        first = last = 0
    made = list(plain)
    for number, at in enumerate(places):
        if first <= number < len(places) - last:
            own = "0" if plain[at] in "0123456789" else "X" if plain[at] in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" else "x"
            made[at] = ("0" if number else "1") if kind == "number" else action.character or own
    return ("number" if kind == "number" else "text", "".join(made))


def bucket(action: Action, plain: str) -> str:
    if not _NUMBER.fullmatch(plain):
        return ""
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 500, 10**6, -(10**6)
        number = Decimal(plain)
        if not -Decimal(10) ** 20 <= number < Decimal(10) ** 20:
            return ""
        if action.size:
            size = Decimal(action.size)
            return shortest((number / size).to_integral_value(ROUND_FLOOR) * size)
        fits = [one.text for one in action.ranges if (not one.start or number >= Decimal(one.start))
                and (not one.end or number < Decimal(one.end))]
        return fits[0] if fits else ""


def shortest(number: Decimal) -> str:
    written = f"{number:f}"
    return "0" if number == 0 else written.rstrip("0").rstrip(".") if "." in written else written


def shift_date(action: Action, kind: str, plain: str, entity: str, keys: dict[str, bytes]) -> str:
    digest = hmac.digest(derived(keys[action.key], "date_shift", 32), entity.encode(), "sha256")
    place = int.from_bytes(digest[:8], "big") % (2 * action.days)
    days = [*range(-action.days, 0), *range(1, action.days + 1)][place]
    if _NUMBER.fullmatch(plain):
        _, dot, places = plain.partition(".")
        if "e" in plain.lower() or len(plain) > 32 or len(places) > 9 or abs(Decimal(plain)) >= 10**14:
            return ""
        unit = 86400 if abs(int(Decimal(plain).to_integral_value(ROUND_FLOOR if dot else None))) < 10**11 else 86400000
        with localcontext() as context:
            context.prec = 60
            moved = Decimal(plain) + days * unit
        return f"{moved:.{len(places)}f}" if moved or not plain.startswith("-") else f"{abs(moved):.{len(places)}f}"
    found = _ISO.fullmatch(plain) if kind == "text" else None
    if not found:
        return ""
    most = (None, None, None, 23, 59, 60, 23, 59)
    if any(found[at + 1] and limit is not None and int(found[at + 1]) > limit for at, limit in enumerate(most)):
        return ""
    try:
        day = date(int(found[1]), int(found[2]), int(found[3])) + timedelta(days)
    except (ValueError, OverflowError):
        return ""
    return f"{day.year:04d}-{day.month:02d}-{day.day:02d}{plain[10:]}"

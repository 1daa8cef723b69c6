"""The detectors as plain Python and `re` would do them: slow, and from the same rules rather than the same code."""

from __future__ import annotations

import re
from collections.abc import Callable

from kproxy._ext import mask
from tests.support.slow_catalogue import NUMBERS
from tests.support.slow_numbers import DOUBT, NO, Number
from tests.support.slow_shapes import SHAPES, Shape

Span = tuple[int, int]

_LENGTHS = (
    "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DJ:27 DK:18 "
    "DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28 IE:22 IL:23 "
    "IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MN:20 MR:27 "
    "MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24 SC:31 SD:18 SE:24 SI:19 "
    "SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30"
)
IBAN_LENGTHS = dict(re.findall(r"(\w\w):(\d\d)", _LENGTHS))

#: Network, what a number begins with, and the lengths in use.
ISSUERS = [
    (r"4", {13, 16, 19}),
    (r"5[1-5]", {16}),
    (r"2(22[1-9]|2[3-9]|[3-6]|7[01]|720)", {16}),
    (r"3[47]", {15}),
    (r"3(0[0-5]|[689])", {14, 16}),
    (r"6011|64[4-9]|65", {16, 19}),
    (r"35(2[89]|[3-8])", {16, 19}),
    (r"62", {16, 17, 18, 19}),
    (r"81", {16, 19}),
    (r"6759", {16, 18, 19}),
    (r"50|5[678]|6[37]", {13, 16, 19}),
]


def is_card(digits: str) -> bool:
    doubled = [int(d) * 2 // 10 + int(d) * 2 % 10 if at % 2 else int(d) for at, d in enumerate(reversed(digits))]
    issued = any(re.match(start, digits) and len(digits) in lengths for start, lengths in ISSUERS)
    return issued and sum(doubled) % 10 == 0


def find_cards(text: str) -> list[Span]:
    found = []
    for chain in re.finditer(r"[0-9]+(?:[ -][0-9]+)*", text):
        groups = [(chain.start() + m.start(), chain.start() + m.end()) for m in re.finditer(r"[0-9]+", chain.group())]
        first = 0
        while first < len(groups):
            start = groups[first][0]
            ends = [
                at
                for at in range(first, len(groups))
                if (start == 0 or not re.match(r"\w", text[start - 1], re.A))
                and not re.match(r"\w", text[groups[at][1] : groups[at][1] + 1], re.A)
                and is_card(re.sub(r"[ -]", "", text[start : groups[at][1]]))
            ]
            if ends and len(re.sub(r"[ -]", "", text[start : groups[ends[-1]][1]])) in (13, 17, 18):
                ends = ends if has_words(WORDS["credit_card"], text, start, groups[ends[-1]][1]) else []
            if ends:
                found.append((start, groups[ends[-1]][1]))
                first = ends[-1]
            first += 1
    return found


def find_ibans(text: str) -> list[Span]:
    found = []
    at = 0
    while at < len(text):
        m = re.compile(r"(?<!\w)[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30}", re.A).match(text, at)
        end = m and _iban_end(text, m)
        if end:
            found.append((at, end))
            at = end
        else:
            at += 1
    return found


def _iban_end(text: str, m: re.Match[str]) -> int | None:
    wanted = int(IBAN_LENGTHS.get(m.group()[:2].upper(), "0"))
    used = [at for at in range(m.start(), m.end()) if text[at] != " "][:wanted]
    if not wanted or len(used) < wanted or re.match(r"\w", text[used[-1] + 1 : used[-1] + 2], re.A):
        return None
    compact = "".join(text[at] for at in used).upper()
    return used[-1] + 1 if int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1 else None


def find_ipv4s(text: str) -> list[Span]:
    part = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])"
    return [m.span() for m in re.finditer(rf"(?<![\w.]){part}(?:\.{part}){{3}}(?!\w|\.[0-9])", text, re.A)]


def _by(pattern: str) -> Callable[[str], list[Span]]:
    compiled = re.compile(pattern, re.A | re.S)
    return lambda text: [m.span() for m in compiled.finditer(text)]


FINDERS: dict[str, Callable[[str], list[Span]]] = {
    "email": _by(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,63}"),
    "credit_card": find_cards,
    "iban": find_ibans,
    "ipv4": find_ipv4s,
    "private_key": _by(
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?"
        r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
    ),
    "api_key": _by(
        r"(?<!\w)(?:A[KS]IA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}"
        r"|xox[abeprs]-[A-Za-z0-9-]{10,}|AIza[\w-]{35}|sk_(?:live|test)_[0-9a-zA-Z]{16,}|sk-[\w-]{20,}"
        r"|npm_[A-Za-z0-9]{36}|pypi-[\w-]{16,}|SG\.[\w-]{16,}\.[\w-]{16,})"
        r"|(?i:api|access|secret|auth)[_-]?(?i:key|token)[=:] ?[\w./+-]{20,}"
    ),
}

WORDS = {row.name: row.words for row in mask.CATALOGUE}
#: What a number does not begin or end beside: a letter, digit or underscore, what makes a longer number of it.
APART = r"(?<![\w+])(?<![0-9][-./]){}(?![\w]|[-./][0-9])"
#: Where the boundaries of a number are others.
BOUNDARIES = {
    "us_ssn": r"(?<![\w-])(?:(?=[0-9]{{3}}[ -]){}|(?<![+])(?<![0-9][./])[0-9]{{9}}(?![./][0-9]))(?![\w-])",
    "ie_pps": APART.replace("{}", "(?<!-){}"),
    "hk_id": r"(?<!\w){}",
    "bitcoin_address": r"(?<!\w){}(?!\w)",
}


def in_latin(word: str) -> str:
    """As the bytes of ``word`` stand in a text that was decoded as Latin 1."""
    return word.encode().decode("latin-1")


def has_words(words: tuple[str, ...], text: str, start: int, end: int) -> bool:
    before = text[max(0, start - 64) : start]
    cut = list(re.finditer(r"[;|\t&}\]]|\n(?<=\n\n)|,(?=[ \n\r\\]*[\"'])|(?<=[A-Za-z]{4})[.!?](?= [A-Za-z])", before))
    least = cut[-1].end() if cut else 0
    equals = [at for at, c in enumerate(before) if c == "="]
    least = max(least, equals[-2] + 1 if len(equals) > 1 else 0)
    if not least and len(before) == 64:
        least = len(before) - len(before.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    behind = re.split(r"[,;|\t\n&={}\[\]\":']|\. ", text[end : end + 32])[0]
    return any(_has_word(in_latin(word), part) for word in words for part in (before[least:], behind))


def _has_word(word: str, text: str) -> bool:
    sign = "[\x00-/:-@\\[-`{-\x7f]"
    compiled = re.compile(f"{sign}{{0,3}}".join(map(re.escape, word.split("_"))), re.A | re.I)
    for at in range(len(text)):
        found = compiled.match(text, at)
        if (
            found
            and _begins(word, text, at)
            and (
                word[-1] >= "\x80"
                or _ends(text, found.end())
                or (text[found.end() : found.end() + 1] in ("s", "S") and _ends(text, found.end() + 1))
            )
        ):
            return True
    return False


def _begins(word: str, text: str, at: int) -> bool:
    if at == 0 or word[0] >= "\x80":
        return True
    camel = re.match(r"[a-z][A-Z]", text[at - 1 : at + 1]) is not None
    return camel or not re.match(r"[A-Za-z\x80-\xff]", text[at - 1])


def _ends(text: str, end: int) -> bool:
    if re.match(r"[a-z][A-Z]|.[A-Z]", text[end - 1 : end + 1]) and not text[end - 1].isupper():
        return True
    return not re.match(r"[A-Za-z\x80-\xff]", text[end : end + 1])


def find_numbers(entity: str, row: Number) -> Callable[[str], list[Span]]:
    compiled = re.compile(BOUNDARIES.get(entity, APART).format(row.pattern).replace(r"\d", "[0-9]"), re.A)
    words = WORDS[entity]

    def find(text: str) -> list[Span]:
        found, at = [], 0
        while match := compiled.search(text, at):
            judged = row.judge(match.group())
            if judged == NO or (judged == DOUBT and not has_words(words, text, *match.span())):
                at = match.start() + 1
            else:
                found.append(match.span())
                at = match.end()
        return found

    return find


def find_shapes(entity: str, row: Shape) -> Callable[[str], list[Span]]:
    compiled, words = re.compile(row.pattern, re.A), WORDS[entity]

    def find(text: str) -> list[Span]:
        found, at = [], 0
        while match := compiled.search(text, at):
            span = row.cut(text, match)
            if span and (not row.doubted or has_words(words, text, *span)):
                found.append(span)
                at = span[1]
            else:
                at = row.go_on(text, match)
        return found

    return find


FINDERS |= {entity: find_numbers(entity, row) for entity, row in NUMBERS.items()}
FINDERS |= {entity: find_shapes(entity, row) for entity, row in SHAPES.items()}

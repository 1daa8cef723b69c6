"""The detectors as plain Python and `re` would do them: slow, and from the same rules rather than the same code."""

from __future__ import annotations

import re
from collections.abc import Callable

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
            if ends:
                found.append((start, groups[ends[-1]][1]))
                first = ends[-1]
            first += 1
    return found


def find_ssns(text: str) -> list[Span]:
    found = re.finditer(r"(?<![\w-])([0-9]{3})([ -])([0-9]{2})\2([0-9]{4})(?![\w-])", text, re.A)
    return [
        m.span() for m in found if m[1] not in ("000", "666") and m[1][0] != "9" and m[3] != "00" and m[4] != "0000"
    ]


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
    "us_ssn": find_ssns,
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

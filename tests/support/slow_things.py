"""Check digits of what pays, of prescribers and of vehicles, from the rules as in slow_numbers.py."""

from __future__ import annotations

import hashlib

from tests.support.slow_numbers import DOUBT, NO, YES, digits, total, two


def aba(values: list[int]) -> bool:
    district = two(values, 0)
    known = 1 <= district <= 12 or 21 <= district <= 32 or 61 <= district <= 72 or district == 80
    return known and total(values, [3, 7, 1] * 3) % 10 == 0


def dea(text: str) -> str:
    values = digits(text[2:])
    return DOUBT if (sum(values[0:6:2]) + 2 * sum(values[1:6:2])) % 10 == values[6] else NO


def vin(text: str) -> str:
    worth = dict(
        zip(
            "ABCDEFGHJKLMNPRSTUVWXYZ",
            [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9],
            strict=True,
        )
    )
    values = [int(c) if c.isdigit() else worth[c] for c in text]
    rest = total(values, [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2]) % 11
    return YES if "0123456789X"[rest] == text[8] and sum(c.isalpha() for c in text) >= 2 else NO


def base58check(text: str) -> bool:
    value = 0
    for c in text:
        value = value * 58 + "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".index(c)
    if value >= 1 << 200:
        return False
    raw = value.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def bech32(text: str) -> bool:
    values = [3, 3, 0, 2, 3, *("qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(c) for c in text.lower()[3:])]
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, feed in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= feed if top >> bit & 1 else 0
    return check in (1, 0x2BC830A3)


def bitcoin(text: str) -> str:
    return YES if (bech32(text) if text[0] in "bB" else base58check(text)) else NO

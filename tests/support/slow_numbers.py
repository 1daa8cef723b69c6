"""Numbers that are given to people and things, as plain Python knows them: their shapes, and the arithmetic of their
check digits from the rules themselves rather than from the code that is tested."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

YES, DOUBT, NO = "yes", "doubt", "no"


class Number(NamedTuple):
    """``pattern`` without boundaries; ``judge(find)`` says YES, NO, or DOUBT where a word beside it must decide;
    ``shapes`` to make one at random: # a digit, ? a capital, & either, Y M D of a date, anything else itself."""

    pattern: str
    judge: Callable[[str], str]
    shapes: tuple[str, ...]


def digits(text: str) -> list[int]:
    return [int(c, 36) for c in text if c.isalnum()]


def total(values: Sequence[int], weights: Sequence[int]) -> int:
    return sum(value * weight for value, weight in zip(values, weights, strict=False))


def number(values: Sequence[int]) -> int:
    return int("".join(map(str, values)))


def luhn(values: Sequence[int]) -> bool:
    return sum(sum(divmod(value * 2, 10)) if at % 2 else value for at, value in enumerate(reversed(values))) % 10 == 0


def mod_11_10(values: Sequence[int]) -> bool:
    rest = 10
    for value in values[:-1]:
        rest = ((rest + value) % 10 or 10) * 2 % 11
    return (rest + values[-1]) % 10 == 1


def day(year: int, month: int, of_month: int) -> bool:
    return 1 <= month <= 12 and 1 <= of_month <= calendar.monthrange(year, month)[1]


def short_day(year: int, month: int, of_month: int) -> bool:
    return day(1900 + year, month, of_month) or day(2000 + year, month, of_month)


def two(values: Sequence[int], at: int) -> int:
    return values[at] * 10 + values[at + 1]


def ymd(values: Sequence[int], at: int = 0) -> bool:
    return short_day(two(values, at), two(values, at + 2), two(values, at + 4))


def dmy(values: Sequence[int]) -> bool:
    return short_day(two(values, 4), two(values, 2), two(values, 0))


def separators(text: str) -> str:
    return re.sub(r"[0-9A-Za-z]", "", text)


def grouped(*counts: int) -> Callable[[str], bool]:
    return lambda text: len(separators(text)) in (0, *counts)


def sure(fits: Callable[[list[int]], bool], even: Callable[[str], bool] = lambda _: True) -> Callable[[str], str]:
    return lambda text: YES if even(text) and fits(digits(text)) else NO


def unsure(fits: Callable[[list[int]], bool], even: Callable[[str], bool] = lambda _: True) -> Callable[[str], str]:
    return lambda text: DOUBT if even(text) and fits(digits(text)) else NO


def sure_if_grouped(fits: Callable[[list[int]], bool], even: Callable[[str], bool]) -> Callable[[str], str]:
    return lambda text: (YES if separators(text) else DOUBT) if even(text) and fits(digits(text)) else NO


def ssn(text: str) -> str:
    area, group, serial = re.sub(r"\D", "", text)[:3], re.sub(r"\D", "", text)[3:5], re.sub(r"\D", "", text)[5:]
    if area in ("000", "666") or area[0] == "9" or group == "00" or serial == "0000":
        return NO
    return {"": DOUBT, "--": YES, "  ": YES}.get(separators(text), NO)


def itin(text: str) -> str:
    group = int(re.sub(r"\D", "", text)[3:5])
    if group in {*range(66, 70), 89, 93} or group < 50:
        return NO
    return {"": DOUBT, "--": YES, "  ": YES}.get(separators(text), NO)


def nino(text: str) -> str:
    bad = text[0] in "DFIQUV" or text[1] in "DFIOQUV" or text[:2] in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")
    return NO if bad or text.count(" ") not in (0, 4) else YES


def de_tax_id(values: list[int]) -> bool:
    times = sorted((values[:10].count(value) for value in range(10)), reverse=True)
    return times[0] in (2, 3) and times[1] == 1 and mod_11_10(values)


def nir(text: str) -> str:
    compact = text.replace(" ", "")
    month = int(compact[3:5])
    spaced = text.count(" ") in (0, 6) or (text.count(" ") == 1 and text[13] == " ")
    plain = (
        int(compact[:13].replace("2A", "19").replace("2B", "18")) if compact[5:7] in ("2A", "2B") else int(compact[:13])
    )
    return (
        YES
        if spaced
        and (1 <= month <= 12 or month == 20 or 30 <= month <= 42 or month >= 50)
        and 97 - plain % 97 == int(compact[13:])
        else NO
    )


NIF = "TRWAGMYFPDXBNJZSQVHLCKE"


def dni(text: str) -> str:
    compact = (
        text.replace("-", "").upper().translate(str.maketrans("XYZ", "012"))
        if text[0].isalpha()
        else text.replace("-", "").upper()
    )
    letter = text[-1].upper()
    return YES if NIF[int(compact[:-1]) % 23] == letter else NO


ODD_PLACES = "1 0 5 7 9 13 15 17 19 21 1 0 5 7 9 13 15 17 19 21 2 4 18 20 11 3 6 8 12 14 16 10 22 25 24 23"
ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", map(int, ODD_PLACES.split()), strict=True))


def codice_fiscale(text: str) -> str:
    text = text.upper()
    even = sum(int(c, 36) if c.isdigit() else ord(c) - 65 for c in text[1:15:2])
    return YES if chr(65 + (sum(ODD[c] for c in text[0:15:2]) + even) % 26) == text[15] else NO


def be_national(text: str) -> str:
    values = digits(text)
    spaced = len(separators(text)) in (0, 4) or not text[6].isdigit()
    check, plain = number(values[9:]), number(values[:9])
    fits = check in (97 - plain % 97, 97 - (2_000_000_000 + plain) % 97)
    month = two(values, 2)
    if not (spaced and fits and month <= 52 and short_day(two(values, 0), month % 20, two(values, 4))):
        return NO
    return YES if len(separators(text)) > 1 else DOUBT


def pesel(values: list[int]) -> bool:
    century, month = divmod(two(values, 2), 20)
    year = (1800 if century == 4 else 1900 + 100 * century) + two(values, 0)
    return day(year, month, two(values, 4)) and total(values, [1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]) % 10 == 0


def personnummer(text: str) -> str:
    values = digits(text)
    short = values[-10:]
    of_month = two(short, 4) - 60 * (two(short, 4) > 60)
    if len(values) == 12:
        born = two(values, 0) in (18, 19, 20) and day(number(values[:4]), two(short, 2), of_month)
    else:
        born = short_day(two(short, 0), two(short, 2), of_month)
    if not born or not luhn(short):
        return NO
    return YES if len(values) == 12 else DOUBT


def hetu(text: str) -> str:
    century = {"+": 1800, **dict.fromkeys("-UVWXY", 1900), **dict.fromkeys("ABCDEF", 2000)}[text[6]]
    born = day(century + int(text[4:6]), int(text[2:4]), int(text[:2]))
    if not born or "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(text[:6] + text[7:10]) % 31] != text[10]:
        return NO
    return YES if text[6].isalpha() or text[10].isalpha() else DOUBT


def fodselsnummer(values: list[int]) -> bool:
    born = short_day(two(values, 4), two(values, 2) % 40, two(values, 0) % 40)
    return (
        born
        and total(values, [3, 7, 6, 1, 8, 9, 4, 5, 2, 1]) % 11 == 0
        and total(values, [5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]) % 11 == 0
    )


def pt_nif(values: list[int]) -> bool:
    rest = total(values, [9, 8, 7, 6, 5, 4, 3, 2]) % 11
    return values[8] == (0 if rest < 2 else 11 - rest)


def pps(text: str) -> str:
    more = text[8:] and (ord(text[8]) - 64) * 9
    rest = (total(digits(text[:7]), [8, 7, 6, 5, 4, 3, 2]) + (more or 0)) % 23
    return YES if "WABCDEFGHIJKLMNOPQRSTUV"[rest] == text[7] else NO


def rodne_cislo(values: list[int]) -> bool:
    month = two(values, 2) % 50
    born = short_day(two(values, 0), month - 20 if month > 20 else month, two(values, 4))
    return born and (number(values) % 11 == 0 or (number(values[:9]) % 11 == 10 and values[9] == 0))


def cnp(values: list[int]) -> bool:
    rest = total(values, [2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11
    return ymd(values, 1) and values[12] == (1 if rest == 10 else rest)


def egn(values: list[int]) -> bool:
    month = two(values, 2)
    century = 2000 if month > 40 else 1800 if month > 20 else 1900
    born = day(century + two(values, 0), month - {2000: 40, 1800: 20, 1900: 0}[century], two(values, 4))
    return born and total(values, [2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10 == values[9]


def isikukood(values: list[int]) -> bool:
    check = total(values, [1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11
    if check == 10:
        check = total(values, [3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10
    return ymd(values, 1) and check == values[10]


def svnr(values: list[int]) -> bool:
    return dmy(values[4:]) and total(values, [3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11 == values[3]


def tckn(values: list[int]) -> bool:
    return (7 * sum(values[0:9:2]) - sum(values[1:8:2])) % 10 == values[9] and sum(values[:10]) % 10 == values[10]


#: Of the dihedral group of order ten, row by row.
VERHOEFF = [
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
]
TURNS = ["0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258"]


def verhoeff(values: Sequence[int]) -> bool:
    check = 0
    for at, value in enumerate(reversed(values)):
        check = int(VERHOEFF[check][int(TURNS[at % 8][value])])
    return check == 0


def cpf(values: list[int]) -> bool:
    def check(some: list[int]) -> int:
        return total(some, range(len(some) + 1, 1, -1)) * 10 % 11 % 10

    return len(set(values)) > 1 and check(values[:9]) == values[9] and check(values[:10]) == values[10]


def cnpj(text: str) -> str:
    values = [ord(c) - 48 for c in text if c.isalnum()]

    def check(some: list[int]) -> int:
        rest = total(some[::-1], [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6]) % 11
        return 0 if rest < 2 else 11 - rest

    if not text[-2:].isdigit() or len(set(values)) == 1 or [check(values[:12]), check(values[:13])] != values[12:]:
        return NO
    return YES if len(separators(text)) > 1 else DOUBT


def nric(text: str) -> str:
    rest = (total(digits(text[1:8]), [2, 7, 6, 5, 4, 3, 2]) + {"T": 4, "G": 4, "M": 3}.get(text[0], 0)) % 11
    table = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "XWUTRQPNJLK"}[
        text[0]
    ]
    return YES if table[rest] == text[8] else NO


def rrn(text: str) -> str:
    values = digits(text)
    if not day(
        {1: 1900, 2: 1900, 5: 1900, 6: 1900}.get(values[6], 2000) + two(values, 0), two(values, 2), two(values, 4)
    ):
        return NO
    kept = (11 - total(values, [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]) % 11) % 10 == values[12]
    return YES if kept and "-" in text else DOUBT


def za_id(values: list[int]) -> bool:
    return ymd(values) and values[10] in (0, 1) and values[11] in (8, 9) and luhn(values)


def curp(text: str) -> str:
    alphabet = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    check = sum(alphabet.index(c) * (18 - at) for at, c in enumerate(text[:17]))
    born = day((1900 if text[16].isdigit() else 2000) + int(text[4:6]), int(text[6:8]), int(text[8:10]))
    return YES if born and (10 - check % 10) % 10 == int(text[17]) else NO


PROVINCES = {
    *range(11, 16),
    *range(21, 24),
    *range(31, 38),
    *range(41, 47),
    *range(50, 55),
    *range(61, 66),
    71,
    81,
    82,
    83,
    91,
}


def resident_id(text: str) -> str:
    born = 1850 <= int(text[6:10]) < 2100 and day(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    check = 10 if text[17] in "Xx" else int(text[17])
    whole = sum(int(c) * pow(2, 17 - at, 11) for at, c in enumerate(text[:17])) + check
    return YES if int(text[:2]) in PROVINCES and born and whole % 11 == 1 else NO


def my_number(values: list[int]) -> bool:
    rest = total(values, [6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11
    return values[11] == (0 if rest < 2 else 11 - rest)


def tw_id(text: str) -> str:
    county = 10 + "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(text[0])
    return DOUBT if total([*divmod(county, 10), *digits(text[1:])], [1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1]) % 10 == 0 else NO


def hk_id(text: str) -> str:
    values = [int(c, 36) if c != " " else 36 for c in re.sub(r"[()]", "", text).rjust(9)]
    return YES if total(values, range(9, 0, -1)) % 11 == 0 else NO


def rut(text: str) -> str:
    values = digits(text[:-2])
    check = -total(values[::-1], [2, 3, 4, 5, 6, 7, 2, 3]) % 11
    if "0123456789K"[check] != text[-1].upper():
        return NO
    return YES if "." in text else DOUBT


def cuit(values: list[int]) -> bool:
    return (11 - total(values, [5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11 == values[10]


def my_nric(text: str) -> str:
    place = int(text[7:9])
    known = 1 <= place <= 93 and place not in {17, 18, 19, 20, 69, 70, 73, 80, 81}
    return YES if known and ymd(digits(text)) else NO

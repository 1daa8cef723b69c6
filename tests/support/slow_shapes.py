"""What has no check digits, as `re` reads it: addresses, credentials, dates, phone numbers."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple

from tests.support.slow_numbers import day

Span = tuple[int, int]
Cut = Callable[[str, re.Match[str]], "Span | None"]


def next_place(_: str, match: re.Match[str]) -> int:
    return match.start() + 1


def behind(_: str, match: re.Match[str]) -> int:
    return max(match.end(), match.start() + 1)


class Shape(NamedTuple):
    """``cut`` gives the span of what was found, or None. ``doubted``: a word must stand beside it."""

    pattern: str
    cut: Cut = lambda _, match: match.span()
    doubted: bool = False
    go_on: Callable[[str, re.Match[str]], int] = next_place


def group(_: str, match: re.Match[str]) -> Span | None:
    return match.span(1)


def ipv6(text: str, match: re.Match[str]) -> Span | None:
    start, end = match.span()
    if text[start] == ":" and text[start : start + 2] != "::" and end - start > 1:
        start += 1
    while end > start and (text[end - 1] == "." or (text[end - 1] == ":" and text[max(start, end - 2) : end] != "::")):
        end -= 1
    found = text[start:end]
    around = text[max(0, start - 1) : start] + text[end : end + 1]
    if ":" not in found or re.search(r"\w", around, re.A) or len(found) > 45 or not re.search("[0-9]", found):
        return None
    if (
        all(len(part) <= 2 for part in found.split(":"))
        and "::" not in found
        and any(len(p) == 2 for p in found.split(":"))
    ):
        return None
    if "." in found and re.search(r"(?<![0-9])0[0-9]", found.rsplit(":", 1)[1]):
        found = re.sub(r"(?<![0-9])0+(?=[0-9])", "", found.rsplit(":", 1)[1]).join((found.rsplit(":", 1)[0] + ":", ""))
    try:
        ipaddress.IPv6Address(found)
    except ValueError:
        return None
    return start, end


NOTHING = {"null", "none", "None", "true", "false", "True", "False", "undefined", "required", "REDACTED"}


def password(text: str, match: re.Match[str]) -> Span | None:
    start = re.compile(r"[^:=]*[:=][ \t\"'\\]*").match(text, match.start()).end()  # type: ignore[union-attr]
    value = text[start : match.end()]
    if len(value) < 4 or value in NOTHING or len(set(value)) == 1 or value[0] in "${<[(":
        return None
    return start, match.end()


def auth(text: str, match: re.Match[str]) -> Span | None:
    return text.rindex(match.group().split()[-1], 0, match.end()), match.end()


def key_of(length: int, never_before: str, never_behind: str) -> Cut:
    def cut(text: str, match: re.Match[str]) -> Span | None:
        before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
        if len(match.group()) != length or re.match(never_before, before, re.A) or re.match(never_behind, after, re.A):
            return None
        return match.span()

    return cut


TWO = [
    "20",
    "27",
    "30",
    "31",
    "32",
    "33",
    "34",
    "36",
    "39",
    "40",
    "41",
    "43",
    "44",
    "45",
    "46",
    "47",
    "48",
    "49",
    "51",
    "52",
    "53",
    "54",
    "55",
    "56",
    "57",
    "58",
    "60",
    "61",
    "62",
    "63",
    "64",
    "65",
    "66",
    "81",
    "82",
    "84",
    "86",
    "90",
    "91",
    "92",
    "93",
    "94",
    "95",
    "98",
    "21",
    "22",
    "23",
    "24",
    "25",
    "26",
    "29",
    "35",
    "37",
    "38",
    "42",
    "50",
    "59",
    "67",
    "68",
    "69",
    "80",
    "85",
    "87",
    "88",
    "96",
    "97",
    "99",
]


def phone(text: str, match: re.Match[str]) -> Span | None:
    groups = list(re.finditer("[0-9]+", match.group()))
    kept = [found for at, found in enumerate(groups) if sum(len(one.group()) for one in groups[: at + 1]) <= 15]
    value = "".join(found.group() for found in kept)
    end = match.start() + (kept[-1].end() if kept else 1)
    before, after = text[max(0, match.start() - 1) : match.start()], text[end : end + 2]
    country = value[:1] in ("1", "7") or value[:2] in TWO
    apart = not re.match(r"[\w+]", before, re.A) and not re.match(r"\w|[-./:][0-9]", after, re.A)
    return (match.start(), end) if len(value) >= 8 and country and apart else None


def is_apart(text: str, start: int, end: int) -> bool:
    before = re.search(r"[\w+]\Z|[0-9][-./]\Z", text[max(0, start - 2) : start], re.A)
    return not before and not re.match(r"\w|[-./][0-9]", text[end : end + 2], re.A)


def national_phone(text: str, match: re.Match[str]) -> Span | None:
    found = match.group()
    value = re.sub(r"\D", "", found)
    dated = re.match(r"...[0-9]([-/.])..\1", found) and len(found) >= 10
    if (
        found[0] == "+"
        or not 7 <= len(value) <= 12
        or dated
        or len(set(value)) == 1
        or not is_apart(text, *match.span())
    ):
        return None
    return match.span()


def behind_digits(text: str, match: re.Match[str]) -> int:
    if text[match.start()] == "+":
        return match.end()
    found = re.compile("[0-9]*").match(text, match.start())
    return max(found.end(), match.start() + 1) if found else match.start() + 1


MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def born(text: str, match: re.Match[str]) -> Span | None:
    found = match.group()
    name = re.search("(?i:" + "|".join(MONTHS) + ")", found)
    parts = [int(part) for part in re.findall("[0-9]+", found)]
    if name:
        fits = len(parts) == 2 and day(parts[1], MONTHS.index(name.group().lower()) + 1, parts[0])
    elif len(parts) == 1:
        fits = day(parts[0] // 10000, parts[0] // 100 % 100, parts[0] % 100)
    elif re.match("[0-9]{4}", found):
        fits = day(*parts)
    else:
        short = [1900 + parts[2] % 100, 2000 + parts[2] % 100]
        year = 2000 + parts[2] if len(re.findall("[0-9]+", found)[2]) == 2 else parts[2]
        fits = (
            any(day(one, parts[1], parts[0]) for one in short)
            or day(year, parts[1], parts[0])
            or day(year, parts[0], parts[1])
        )
    before = text[max(0, match.start() - 1) : match.start()]
    after = text[match.end() : match.end() + 2]
    apart = not re.match(r"[\w./-]", before, re.A) and not re.match(r"(?!T)\w|[-/.][0-9]", after, re.A)
    return match.span() if fits and apart else None


def bic(_: str, match: re.Match[str]) -> Span | None:
    return match.span() if match.group()[4:6] in COUNTRIES else None


COUNTRIES = set(
    re.findall(
        "..",
        (
            "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZ"
            "ECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZ"
            "LALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQA"
            "RERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSXKYEYTZAZMZW"
        ),
    )
)


def icd10(text: str, match: re.Match[str]) -> Span | None:
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 2]
    return None if re.match(r"[\w./+-]", before, re.A) or re.match(r"[\w-]|\.\w", after, re.A) else match.span()


MONTH = "(?i:" + "|".join(MONTHS) + ")[a-z]{0,6}"
QUOTES = r"[\"'\\]{0,3}[ \t]{0,3}[:=][ \t]{0,3}[\"'\\]{0,3}"
SHAPES: dict[str, Shape] = {
    "date_of_birth": Shape(
        r"(?:19|20)[0-9]{2}(?:[-/.][01]?[0-9][-/.][0-3]?[0-9]|[01][0-9][0-3][0-9])"
        r"|[0-3]?[0-9][-/.][0-3]?[0-9][-/.](?:(?:19|20)[0-9]{2}|[0-9]{2})"
        rf"|[0-3]?[0-9](?:st|nd|rd|th|\.)?[ -]{MONTH}\.?,?[ -](?:19|20)[0-9]{{2}}"
        rf"|{MONTH}\.? [0-3]?[0-9](?:st|nd|rd|th)?,? (?:19|20)[0-9]{{2}}",
        born,
        True,
    ),
    "phone": Shape(r"\+[1-9][0-9]{0,14}(?:[ .-]?\(?[0-9]{1,12}\)?(?:[ ./-]?[0-9]{1,12}){0,6})?", phone),
    "national_phone": Shape(
        r"\+?\(?[0-9]{2,6}\)?[ ./-]{0,2}[0-9]{2,9}(?:[ .-]?[0-9]{2,5}){0,4}", national_phone, True, behind_digits
    ),
    "swift_bic": Shape(r"(?<!\w)[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?(?!\w)", bic, True),
    "ethereum_address": Shape(r"(?<![\w+])(?<![0-9][-./])0x[0-9a-fA-F]{40}(?!\w|[-./][0-9])", doubted=True),
    "ipv6": Shape(r"[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+", ipv6, go_on=behind),
    "mac_address": Shape(
        r"(?<!\w)(?:(?<!:)[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}(?![:\w])|(?<!-)[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}(?![-\w]))"
    ),
    "url_credentials": Shape(r"://([^ \t\n\f\r/:@\"'<>\\]{0,128}:[^ \t\n\f\r/@\"'<>\\]{1,256})@", group),
    "aws_access_key_id": Shape(r"(?<!\w)(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?!\w)"),
    "aws_secret_key": Shape(r"[A-Za-z0-9/+]{40,}", key_of(40, r"[\w-]", r"[=_-]"), True, behind),
    "gcp_service_account_key": Shape(
        r"(?i:private_key_id|privatekeyid)[\\\"' ]{0,6}[:=][\\\"' ]{0,6}([0-9a-f]{40})(?!\w)", group
    ),
    "gcp_api_key": Shape(r"(?<!\w)(?:AIza[\w-]{35}|GOCSPX-[\w-]{28}|ya29\.[\w-]{20,})"),
    "azure_storage_key": Shape(r"[A-Za-z0-9+/]{86,}==", key_of(88, r"\w", r"[\w=]"), True, behind),
    "github_token": Shape(r"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,})"),
    "gitlab_token": Shape(r"(?<!\w)gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat)-[\w-]{20,}"),
    "slack_token": Shape(
        r"(?<!\w)(?:xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,})"
        r"|hooks\.slack\.com/services/T[A-Za-z0-9]{6,}/B[A-Za-z0-9]{6,}/[A-Za-z0-9]{20,}"
    ),
    "stripe_key": Shape(r"(?<!\w)(?:[rs]k_(?:live|test)_[0-9A-Za-z]{16,}|whsec_[A-Za-z0-9+/]{24,})"),
    "jwt": Shape(r"(?<!\w)eyJ[\w-]{8,}\.eyJ[\w-]{4,}\.[\w-]*"),
    "password": Shape(
        r"(?i:password|passwd|passwort|pwd|passphrase|kennwort|contrase\xc3\xb1a|mot_?de_?passe)"
        + QUOTES
        + r"[^ \t\n\f\r\"',;&}\\]{4,128}",
        password,
    ),
    "auth_header": Shape(
        r"(?i:authorization)" + QUOTES + r"(?i:basic|bearer|token|apikey|negotiate)[ \t]{1,3}[A-Za-z0-9+/._~=-]{8,}",
        auth,
    ),
    "icd10": Shape(r"[A-Z][0-9][0-9AB](?:\.[0-9A-Z]{1,4})?", icd10, True),
}

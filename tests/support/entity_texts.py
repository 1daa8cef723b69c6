"""Values of every entity made at random, and texts that hold them, almost hold them, or hold what looks alike."""

from __future__ import annotations

import hashlib
import random
import re
import string

from kproxy._ext import mask
from tests.support.slow_catalogue import NUMBERS
from tests.support.slow_numbers import NO

ALNUM = string.ascii_letters + string.digits
HEX = string.hexdigits[:16]
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
WORDS = {row.name: row.words for row in mask.CATALOGUE}
MONTHS = ("January", "February", "March", "Apr", "May", "June", "Jul", "August", "Sept", "October", "November", "Dec")


def some(chance: random.Random, letters: str, count: int) -> str:
    return "".join(chance.choices(letters, k=count))


def of_shape(shape: str, chance: random.Random) -> str:
    shape = shape.replace("YY", f"{chance.randrange(100):02}").replace("MM", f"{chance.randint(1, 12):02}")
    shape = shape.replace("DD", f"{chance.randint(1, 28):02}")
    kinds = {"#": string.digits, "?": string.ascii_uppercase, "&": string.digits + string.ascii_uppercase}
    return "".join(chance.choice(kinds[c]) if c in kinds else c for c in shape)


def a_number(entity: str, chance: random.Random) -> str:
    """One that is right, by the slow rules."""
    row = NUMBERS[entity]
    compiled = re.compile(row.pattern.replace(r"\d", "[0-9]"), re.A)
    shape = chance.choice(row.shapes)
    for _ in range(200_000):
        made = of_shape(shape, chance)
        if compiled.fullmatch(made) and row.judge(made) != NO:
            return made
    raise ValueError(f"{entity}: no number is of the shape {shape}")


def bitcoin(chance: random.Random) -> str:
    if chance.random() < 0.5:
        raw = bytes([chance.choice([0, 5])]) + chance.randbytes(20)
        value = int.from_bytes(raw + hashlib.sha256(hashlib.sha256(raw).digest()).digest()[:4], "big")
        made = ""
        while value:
            value, rest = divmod(value, 58)
            made = BASE58[rest] + made
        return "1" * (25 - len(raw.lstrip(b"\0")) - 4) + made if raw[0] == 0 else made
    letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    values = [0, *(chance.randrange(32) for _ in range(32))]
    check = 1
    for value in (3, 3, 0, 2, 3, *values, 0, 0, 0, 0, 0, 0):
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, feed in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= feed if top >> bit & 1 else 0
    check ^= 1
    return "bc1" + "".join(letters[value] for value in (*values, *(check >> 5 * (5 - at) & 31 for at in range(6))))


def a_phone(chance: random.Random, plus: bool) -> str:
    if plus:
        country = chance.choice(
            ["1", "44", "49", "33", "39", "34", "31", "48", "46", "91", "86", "81", "55", "61", "971", "353"]
        )
        return f"+{country}" + chance.choice(
            [
                of_shape(" ### ### ####", chance),
                of_shape("#########", chance),
                of_shape(" ## ######", chance),
                of_shape("-###-###-####", chance),
                of_shape(" (###) ###-####", chance),
            ]
        )
    return of_shape(
        chance.choice(
            [
                "(###) ###-####",
                "###-###-####",
                "0## #######",
                "030/#######",
                "01## ######",
                "04 ## ## ## ##",
                "07### ######",
                "##########",
            ]
        ),
        chance,
    )


def a_date(chance: random.Random) -> str:
    year, month, day = chance.randint(1930, 2020), chance.randint(1, 12), chance.randint(1, 28)
    return chance.choice(
        [
            f"{year}-{month:02}-{day:02}",
            f"{day:02}.{month:02}.{year}",
            f"{month:02}/{day:02}/{year}",
            f"{day} {MONTHS[month - 1]} {year}",
            f"{MONTHS[month - 1]} {day}, {year}",
            f"{year}{month:02}{day:02}",
            f"{day}.{month}.{year % 100:02}",
            f"{year}-{month:02}-{day:02}T00:00:00Z",
        ]
    )


def an_ipv6(chance: random.Random) -> str:
    groups = [f"{chance.getrandbits(16):x}" for _ in range(8)]
    return chance.choice(
        [
            ":".join(groups),
            f"2001:db8::{groups[0]}",
            "fe80::" + ":".join(groups[:4]),
            "::ffff:192.0.2." + str(chance.randrange(256)),
            "2a02:" + ":".join(groups[:3]) + "::",
            "::1",
        ]
    )


def a_secret(entity: str, chance: random.Random) -> str:
    def key(count: int, more: str = "") -> str:
        return some(chance, ALNUM + more, count)

    return {
        "url_credentials": lambda: "postgres://" + key(6) + ":" + key(9, "!.") + "@db.example.com/x",
        "aws_access_key_id": lambda: (
            chance.choice(["AKIA", "ASIA"]) + some(chance, string.ascii_uppercase + "234567", 16)
        ),
        "aws_secret_key": lambda: key(40, "/+"),
        "gcp_service_account_key": lambda: f'"private_key_id": "{some(chance, HEX, 40)}"',
        "gcp_api_key": lambda: chance.choice(
            ["AIza" + key(35, "_-"), "GOCSPX-" + key(28, "_-"), "ya29." + key(40, "_-")]
        ),
        "azure_storage_key": lambda: key(86, "+/") + "==",
        "github_token": lambda: chance.choice(["ghp_", "gho_", "ghs_"]) + key(36),
        "gitlab_token": lambda: chance.choice(["glpat-", "gldt-", "glrt-"]) + key(20, "_-"),
        "slack_token": lambda: chance.choice(
            [
                "xoxb-" + key(24, "-"),
                "xapp-1-" + key(20),
                f"https://hooks.slack.com/services/T{key(8)}/B{key(8)}/{key(24)}",
            ]
        ),
        "stripe_key": lambda: chance.choice(["sk_live_" + key(24), "rk_test_" + key(24), "whsec_" + key(32)]),
        "jwt": lambda: f"eyJ{key(20, '_-')}.eyJ{key(30, '_-')}.{key(43, '_-')}",
        "password": lambda: chance.choice(["password=", 'password": "', "pwd: ", "PASSWD = "]) + key(10, "!#%"),
        "auth_header": lambda: "Authorization: " + chance.choice(["Basic ", "Bearer "]) + key(24),
    }[entity]()


def a_value(entity: str, chance: random.Random) -> str:
    """Of any entity that slow_catalogue.py or slow_shapes.py knows; what stands around it where it is part of more."""
    if entity in NUMBERS and NUMBERS[entity].shapes:
        return a_number(entity, chance)
    made = {
        "bitcoin_address": lambda: bitcoin(chance),
        "ethereum_address": lambda: "0x" + some(chance, HEX, 40),
        "phone": lambda: a_phone(chance, True),
        "national_phone": lambda: a_phone(chance, False),
        "date_of_birth": lambda: a_date(chance),
        "ipv6": lambda: an_ipv6(chance),
        "mac_address": lambda: chance.choice(":-").join(f"{chance.randrange(256):02x}" for _ in range(6)),
        "swift_bic": lambda: (
            some(chance, string.ascii_uppercase, 4)
            + chance.choice(["DE", "FR", "US", "GB", "QQ"])
            + some(chance, string.ascii_uppercase + string.digits, chance.choice([2, 5]))
        ),
        "icd10": lambda: chance.choice(["E11.9", "I10", "J45.901", "S72.001A", "Z99", "C50.919", "F32.1"]),
    }.get(entity)
    return made() if made else a_secret(entity, chance)


def a_look_alike(chance: random.Random) -> str:
    return [
        lambda: str(chance.randrange(1_600_000_000_000, 1_800_000_000_000)),
        lambda: some(chance, string.digits, chance.randint(1, 20)),
        lambda: f"{chance.getrandbits(128):032x}"[:8] + "-" + f"{chance.getrandbits(64):016x}",
        lambda: some(chance, string.ascii_uppercase + string.digits, chance.randint(6, 20)),
        lambda: some(chance, string.digits + " -./:", chance.randint(4, 24)),
        lambda: some(chance, string.printable, chance.randint(1, 12)),
        lambda: f"{chance.randrange(10)}.{chance.randrange(20)}.{chance.randrange(99)}",
        lambda: f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}",
    ][chance.randrange(8)]()


def a_word(words: tuple[str, ...], chance: random.Random) -> str:
    word = chance.choice(words).replace("_", chance.choice(["_", " ", "-", ""]))
    made = chance.choice([word, word.title(), word.upper(), word.capitalize()])
    return made.encode().decode("latin-1") + chance.choice(
        [": ", " ", '": "', " is ", "=", '":"', " no. ", "x ", ', "a": "']
    )


def a_text_about(entity: str, chance: random.Random) -> str:
    """As Latin 1."""
    glue = [" ", ", ", ",", '"', ": ", "-", ".", "\n", "x", "_", "0", "é", "  ", '", "', ";", "+", "/"]
    made = []
    for _ in range(chance.choice([1, 1, 2, 3, 6, 20])):
        piece = a_value(entity, chance) if chance.random() < 0.6 else a_look_alike(chance)
        if chance.random() < 0.15:
            at = chance.randrange(len(piece))
            piece = piece[:at] + chance.choice(string.digits + "aZ- ") + piece[at + 1 :]
        if WORDS[entity] and chance.random() < 0.6:
            made.append(a_word(WORDS[entity], chance))
        made += [piece, chance.choice(glue)]
    return "".join(made)

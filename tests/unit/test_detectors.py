"""Every detector held against a slow reading of its rules, on a seeded corpus and on what it must tell apart."""

from __future__ import annotations

import random
import string
import time

import pytest

from kproxy._ext import mask
from tests.support.slow_detectors import FINDERS, is_card

#: Those that the first look knows by itself; the others are in test_entities.py.
FIRST = mask.ENTITIES[:7]
ONE = {entity: mask.Finder((entity,)) for entity in FIRST}
EVERY = mask.Finder(FIRST)
ALNUM = string.ascii_letters + string.digits


def luhn(prefix: str) -> str:
    return next(
        prefix + digit
        for digit in string.digits
        if sum(
            int(d) * 2 // 10 + int(d) * 2 % 10 if at % 2 else int(d) for at, d in enumerate(reversed(prefix + digit))
        )
        % 10
        == 0
    )


def a_card(chance: random.Random) -> str:
    while True:
        start = chance.choice(
            ["4", "51", "55", "2221", "2720", "34", "37", "36", "305", "6011", "65", "3528", "62", "81", "6759", "50"]
        )
        length = chance.choice([13, 14, 15, 16, 16, 16, 18, 19])
        made = luhn(start + "".join(chance.choices(string.digits, k=length - 1 - len(start))))
        if is_card(made) or chance.random() < 0.05:
            return made


def an_iban(chance: random.Random) -> str:
    country, length = chance.choice([("DE", 22), ("GB", 22), ("NO", 15), ("MT", 31), ("FR", 27), ("XX", 22)])
    rest = "".join(chance.choices(ALNUM.upper() if country in ("GB", "MT", "FR") else string.digits, k=length - 4))
    check = 98 - int("".join(str(int(c, 36)) for c in rest + country + "00")) % 97
    made = f"{country}{check:02}{rest}"
    return chance.choice([made, made.lower(), " ".join(made[at : at + 4] for at in range(0, length, 4))])


def an_ssn(chance: random.Random, separator: str) -> str:
    area = chance.choice(["000", "666", "123", "536", "899", "078", "772", "900"])
    group = chance.choice(["00", "22", "22", "1", "45"])
    serial = chance.choice(["0000", "8712", "8712", "4321", "99999"])
    return area + separator + group + chance.choice([separator, separator, "-"]) + serial


KEY_STARTS = [
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "AIza",
    "sk_live_",
    "sk-",
    "npm_",
    "pypi-",
    "SG.",
    "api_key=",
    "SECRETKEY=",
    "Access-Token: ",
]
PEM_LINES = [
    "-----BEGIN RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nMII",
    "-----END PRIVATE KEY-----",
    "-----BEGIN PUBLIC KEY-----",
    "----",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----",
]


def an_entity(chance: random.Random) -> str:
    kind = chance.randrange(12)
    digits = "".join(chance.choices(string.digits, k=chance.randint(1, 20)))
    card = a_card(chance)
    separator = chance.choice(" -")
    return [
        lambda: card,
        lambda: separator.join(card[at : at + 4] for at in range(0, len(card), 4)),
        lambda: an_iban(chance),
        lambda: digits,
        lambda: ".".join(
            str(chance.choice([0, 1, 10, 99, 255, 256, 7, 192, 127, 8])) for _ in range(chance.choice([3, 4, 4, 4, 5]))
        ),
        lambda: an_ssn(chance, separator),
        lambda: (
            "".join(chance.choices(ALNUM + "._+-", k=chance.randint(0, 9)))
            + "@"
            + "".join(chance.choices(ALNUM + ".-", k=chance.randint(0, 9)))
            + chance.choice(["", ".com", ".c", ".co.uk"])
        ),
        lambda: (
            chance.choice(KEY_STARTS)
            + "".join(chance.choices(ALNUM + chance.choice(["", "_-."]), k=chance.choice([5, 16, 20, 35, 36, 40])))
        ),
        lambda: chance.choice(PEM_LINES),
        lambda: str(chance.randrange(1_600_000_000_000, 1_800_000_000_000)),
        lambda: f"{chance.getrandbits(128):032x}"[:8] + "-" + f"{chance.getrandbits(64):016x}",
        lambda: "".join(chance.choices(string.printable, k=chance.randint(1, 12))),
    ][kind]()


def a_text(chance: random.Random) -> str:
    glue = [" ", ", ", " ", "", ",", '"', ": ", "-", ".", "\n", "x", "_", "0", "é", "@", "  "]
    return "".join(an_entity(chance) + chance.choice(glue) for _ in range(chance.choice([1, 1, 2, 3, 6, 12, 60])))


def spans(text: str, entity: str, **options: bool) -> list[tuple[int, int]]:
    return [(at, at + length) for _, at, length in ONE[entity].find(text.encode("latin-1"), **options)]


@pytest.mark.parametrize("entity", FIRST)
def test_each_detector_finds_what_a_slow_reading_finds(entity: str):
    chance = random.Random(f"{entity}-1")
    finds = 0
    for number in range(2000):
        text = a_text(chance)
        slow = FINDERS[entity](text)
        assert spans(text, entity) == slow, (number, text)
        assert spans(text, entity, look_first=False) == slow, (number, text)
        finds += len(slow)
    assert finds > 150


def test_all_detectors_together_find_what_each_finds_alone():
    chance = random.Random(2)
    for _ in range(1500):
        text = a_text(chance).encode("latin-1")
        alone = [find for entity in FIRST for find in ONE[entity].find(text)]
        assert EVERY.find(text) == alone
        assert EVERY.find(text, look_first=False) == alone


def test_a_find_at_any_place_among_the_blocks_the_look_reads():
    for entity, text in [
        ("email", b"a@b.cd"),
        ("credit_card", b"4111111111111111"),
        ("us_ssn", b"536-22-8712"),
        ("iban", b"DE89370400440532013000"),
        ("ipv4", b"10.0.0.1"),
        ("api_key", b"AKIAIOSFODNN7EXAMPLE"),
        ("private_key", b"-----BEGIN PRIVATE KEY-----x-----END PRIVATE KEY-----"),
    ]:
        for before in range(100):
            for after in (0, 1, 5, 40):
                found = EVERY.find(b" " * before + text + b"," * after)
                assert found == [(entity, before, len(text))], (entity, before, after)


def test_long_ids_timestamps_and_uuids_are_rarely_taken_for_anything():
    chance = random.Random(4)
    ids = [str(chance.randrange(10**17, 10**18)) for _ in range(20_000)]
    taken = sum(bool(EVERY.find(text.encode())) for text in ids)
    assert taken / len(ids) < 0.003
    for _ in range(5000):
        text = f'{{"at":{chance.randrange(1_600_000_000_000, 1_800_000_000_000)},"n":{chance.randrange(10**9)}}}'
        assert not EVERY.find(text.encode()), text


@pytest.mark.parametrize(
    ("start", "length"),
    [
        ("4", 13),
        ("4", 16),
        ("4", 19),
        ("51", 16),
        ("55", 16),
        ("2221", 16),
        ("2720", 16),
        ("34", 15),
        ("37", 15),
        ("300", 14),
        ("305", 14),
        ("36", 14),
        ("39", 16),
        ("6011", 16),
        ("644", 16),
        ("65", 19),
        ("3528", 16),
        ("3589", 16),
        ("62", 16),
        ("62", 17),
        ("62", 18),
        ("62", 19),
        ("81", 16),
        ("6759", 18),
        ("6759", 16),
        ("50", 13),
        ("58", 19),
        ("63", 16),
    ],
)
def test_cards_of_every_issuer_are_found(start: str, length: int):
    card = luhn(start.ljust(length - 1, "7"))
    # Lengths that next to nobody issues any more are only a card where a word says so.
    before = "card " if length in (13, 17, 18) else ""
    assert is_card(card) and ONE["credit_card"].find((before + card).encode()) == [("credit_card", len(before), length)]
    assert bool(ONE["credit_card"].find(card.encode())) == (not before)
    wrong = card[:-1] + str((int(card[-1]) + 1) % 10)
    assert ONE["credit_card"].find((before + wrong).encode()) == []


@pytest.mark.parametrize(
    ("start", "length"),
    [
        ("4", 15),
        ("50", 16 - 2),
        ("56", 18),
        ("2220", 16),
        ("2721", 16),
        ("306", 14),
        ("34", 16),
        ("643", 16),
        ("3527", 16),
        ("3590", 16),
        ("1", 16),
        ("9", 16),
        ("0", 16),
        ("7", 13),
        ("36", 18),
    ],
)
def test_numbers_no_network_issues_are_not_cards(start: str, length: int):
    number = luhn(start.ljust(length - 1, "7"))
    assert ONE["credit_card"].find(number.encode()) == []


@pytest.mark.parametrize(
    "piece",
    [
        "4111 1111 1111 1111 ",
        "1 ",
        "1",
        "a@",
        "a.",
        "xsk-",
        "DE89 ",
        "1.1.1.",
        "-----BEGIN PRIVATE KEY-----",
        "123-45-",
        "sk-",
        "AKIA",
        "@",
        "[",
        "a@b.c",
        "0-",
        "apikey=apikey:",
    ],
    ids=repr,
)
def test_no_text_takes_long(piece: str):
    text = piece.encode() * (400_000 // len(piece))
    began = time.thread_time()
    EVERY.find(text)
    EVERY.find(text, look_first=False)
    assert time.thread_time() - began < 2.5

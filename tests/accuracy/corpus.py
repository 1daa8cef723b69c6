"""Records made at random from a seed, with the place of every entity in them known: values that are right, values that
are nearly right, and what only looks alike, in JSON and in sentences of several languages."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import NamedTuple

from faker import Faker

from tests.support import entity_texts
from tests.support.slow_catalogue import NUMBERS
from tests.support.slow_numbers import NO
from tests.support.slow_shapes import SHAPES

LANGUAGES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "sv_SE", "pt_BR", "ja_JP", "zh_CN")
#: Of a value with something around it, what is to be found.
INNER = {
    "url_credentials": r"://(.*)@",
    "gcp_service_account_key": r'"([0-9a-f]{40})"',
    "password": r"[:=] ?\"?([^\"]*)$",
    "auth_header": r" (\S+)$",
    "date_of_birth": r"^(.*?)(?:T00:00:00Z)?$",
    "slack_token": r"((?:hooks|xox|xapp).*)$",
}
#: Entities of the first seven that slow_catalogue.py does not make.
FIRST = ("email", "credit_card", "iban", "ipv4", "private_key", "api_key")
#: Languages in which Faker makes them by the rules.
OF_FIRST = {"credit_card": "en_US", "iban": "de_DE"}
ENTITIES = (*FIRST, *NUMBERS, *SHAPES)
#: Without a word beside them these count for nothing; of the others only some shapes do.
NEUTRAL = {
    "en_US": "The value {} was entered.",
    "en_GB": "We noted {} on the form.",
    "de_DE": "Erfasst wurde {} im Vorgang.",
    "fr_FR": "La valeur {} a été saisie.",
    "es_ES": "Se ha registrado {} hoy.",
    "it_IT": "È stato inserito {} ieri.",
    "nl_NL": "We hebben {} genoteerd.",
    "pl_PL": "Wpisano {} w formularzu.",
    "sv_SE": "Vi har noterat {} i dag.",
    "pt_BR": "Foi informado {} ontem.",
    "ja_JP": "値は {} です。",
    "zh_CN": "数值为 {} 。",
}
NEUTRAL_KEYS = ("ref", "value", "code", "data", "item", "entry", "field", "x1")
LOOK_ALIKE_KEYS = ("order", "trace", "id", "sequence", "ts", "version", "sku", "batch", "offset", "digest", "build")


class Record(NamedTuple):
    """``spans``: (entity, start, end) in bytes; ``plain`` the text."""

    plain: bytes
    spans: tuple[tuple[str, int, int], ...]


class Piece(NamedTuple):
    """A value under a name: in JSON its member, in text a part of a sentence. ``inner``: what of it is an entity."""

    name: str
    value: str
    entity: str
    inner: tuple[int, int]


def first_value(entity: str, fake: Faker, chance: random.Random) -> str:
    if entity == "credit_card":
        number = fake.credit_card_number(chance.choice(["visa", "mastercard", "amex", "discover"]))
        return chance.choice([number, " ".join(number[at : at + 4] for at in range(0, len(number), 4))])
    return {
        "email": lambda: fake.ascii_email(),
        "iban": lambda: re.sub(r"(.{4})(?=.)", chance.choice([r"\1", r"\1 "]), fake.iban()),
        "ipv4": lambda: fake.ipv4(),
        "private_key": lambda: "-----BEGIN PRIVATE KEY-----" + fake.pystr(64, 64) + "-----END PRIVATE KEY-----",
        "api_key": lambda: chance.choice(["sk-", "npm_", "SG." + fake.pystr(22, 22) + "."]) + fake.pystr(36, 36),
    }[entity]()


def named(entity: str, chance: random.Random) -> str:
    """One of its words as the name of a member."""
    word = chance.choice(entity_texts.WORDS[entity])
    if "'" in word or "." in word:
        return word.replace("_", " ")
    camel = re.sub(r"_([a-z])", lambda match: match[1].upper(), word)
    return chance.choice([word, camel, word.replace("_", " "), word.upper(), "user_" + word])


def positive(entity: str, fake: Faker, chance: random.Random) -> Piece:
    if entity in FIRST:
        value = first_value(entity, fake, chance)
    else:
        value = entity_texts.a_value(entity, chance)
        while entity == "swift_bic" and value[4:6] == "QQ":
            value = entity_texts.a_value(entity, chance)
    inner = (0, len(value))
    if entity in INNER:
        match = re.search(INNER[entity], value)
        assert match, value
        inner = match.span(1)
    doubted = entity in SHAPES and SHAPES[entity].doubted
    doubted = doubted or (entity in NUMBERS and NUMBERS[entity].judge(value) != "yes")
    needs_word = bool(entity_texts.WORDS[entity]) and (doubted or chance.random() < 0.3)
    return Piece(named(entity, chance) if needs_word else chance.choice(NEUTRAL_KEYS), value, entity, inner)


def nearly(entity: str, chance: random.Random) -> Piece:
    """A number whose check digits are wrong, under its own name; another row's where it has none to be wrong."""
    row = NUMBERS[entity]
    for _ in range(50):
        value = entity_texts.a_number(entity, chance)
        at = max(at for at, c in enumerate(value) if c.isdigit())
        wrong = value[:at] + chance.choice([c for c in "0123456789" if c != value[at]]) + value[at + 1 :]
        if re.fullmatch(row.pattern.replace(r"\d", "[0-9]"), wrong, re.A) and row.judge(wrong) == NO:
            name = named(entity, chance) if entity_texts.WORDS[entity] else chance.choice(NEUTRAL_KEYS)
            return Piece(name, wrong, "", (0, 0))
    return look_alike(chance)


def look_alike(chance: random.Random) -> Piece:
    value = [
        lambda: str(chance.randrange(1_600_000_000_000, 1_800_000_000_000)),
        lambda: str(chance.randrange(1_600_000_000, 1_800_000_000)),
        lambda: "-".join(f"{chance.getrandbits(4 * size):0{size}x}" for size in (8, 4, 4, 4, 12)),
        lambda: str(chance.randrange(10**17, 10**18)),
        lambda: str(chance.randrange(10**8, 10**9)),
        lambda: entity_texts.some(chance, "0123456789", chance.randint(4, 12)),
        lambda: f"{chance.getrandbits(160):040x}",
        lambda: f"{chance.getrandbits(256):064x}",
        lambda: f"{chance.randrange(20)}.{chance.randrange(60)}.{chance.randrange(999)}",
        lambda: f"ORD-{chance.randrange(10**5, 10**9)}",
        lambda: (
            f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
            f"T{chance.randrange(24):02}:{chance.randrange(60):02}:07.123Z"
        ),
        lambda: f"{chance.randrange(10**6)}.{chance.randrange(10**6):06}",
        lambda: entity_texts.some(chance, "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", chance.randint(8, 12)),
        lambda: f"{chance.randrange(900) + 100}-{chance.randrange(900) + 100}-{chance.randrange(9000) + 1000}",
    ][chance.randrange(14)]()
    return Piece(chance.choice(LOOK_ALIKE_KEYS), value, "", (0, 0))


def write_json(pieces: list[Piece], chance: random.Random) -> Record:
    space = chance.choice(["", " "])
    text, spans = "{", []
    for at, piece in enumerate(pieces):
        is_number = piece.value.isdigit() and piece.value[0] != "0" and chance.random() < 0.4
        text += ("," + space if at else "") + json.dumps(piece.name, ensure_ascii=False) + ":" + space
        if is_number:
            start, written = len(text), piece.value
        else:
            start, written = len(text) + 1, json.dumps(piece.value, ensure_ascii=False)
        if piece.entity:
            # A quote within is written as two bytes.
            first = len(json.dumps(piece.value[: piece.inner[0]], ensure_ascii=False)) - 2
            last = len(json.dumps(piece.value[: piece.inner[1]], ensure_ascii=False)) - 2
            spans.append((piece.entity, start + first, start + last))
        text += written
    return in_bytes(text + "}", spans)


def write_text(pieces: list[Piece], language: str, fake: Faker, chance: random.Random) -> Record:
    text, spans = "", []
    for piece in pieces:
        text += fake.sentence() + " "
        if piece.name in NEUTRAL_KEYS or piece.name in LOOK_ALIKE_KEYS:
            before, behind = NEUTRAL[language].split("{}")
        else:
            before, behind = (
                piece.name + chance.choice([": ", " ", " = ", " no. "]),
                chance.choice([".", ",", " ", "\n"]),
            )
        text += before
        if piece.entity:
            spans.append((piece.entity, len(text) + piece.inner[0], len(text) + piece.inner[1]))
        text += piece.value + behind + " "
    return in_bytes(text, spans)


def in_bytes(text: str, spans: list[tuple[str, int, int]]) -> Record:
    def place(at: int) -> int:
        return len(text[:at].encode())

    return Record(text.encode(), tuple((entity, place(start), place(end)) for entity, start, end in spans))


def records(count: int, seed: int = 1) -> Iterator[Record]:
    """Every entity in turn; beside it what looks alike, and in every third record a number that is nearly right."""
    chance = random.Random(seed)
    fakes = {language: Faker(language) for language in LANGUAGES}
    for number, language in enumerate(LANGUAGES):
        fakes[language].seed_instance(seed * 100 + number)
    wrong = [entity for entity in NUMBERS if NUMBERS[entity].shapes]
    for number in range(count):
        language = chance.choice(LANGUAGES)
        pieces = [look_alike(chance) for _ in range(chance.randint(1, 4))]
        if number % 3:
            entity = ENTITIES[(number // 3 * 2 + number % 3 - 1) % len(ENTITIES)]
            pieces.append(positive(entity, fakes[OF_FIRST.get(entity, language)], chance))
        else:
            pieces.append(nearly(chance.choice(wrong), chance))
        chance.shuffle(pieces)
        if chance.random() < 0.6:
            yield write_json(pieces, chance)
        else:
            yield write_text(pieces, language, fakes[language], chance)

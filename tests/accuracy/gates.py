"""What the detectors have to reach."""

from __future__ import annotations

import random

from kproxy._ext import mask
from tests.accuracy.corpus import ENTITIES
from tests.accuracy.score import Score

#: Without check digits: a word, a shape or a prefix is all that tells of them.
BY_SHAPE = (
    "us_ssn",
    "us_itin",
    "us_passport",
    "us_driver_license",
    "uk_nino",
    "dk_cpr",
    "in_pan",
    "my_nric",
    "date_of_birth",
    "phone",
    "national_phone",
    "swift_bic",
    "ethereum_address",
    "us_mbi",
    "icd10",
    "password",
    "kr_rrn",
)
CHECKED = tuple(entity for entity in ENTITIES if entity not in BY_SHAPE)
RECALL = {"email": 0.99, "ipv4": 0.99, "ipv6": 0.99}


def missed(score: Score) -> list[str]:
    """A line for each gate that is not reached; none is judged by fewer than ten values."""
    problems = []
    for entity in ENTITIES:
        if score.right[entity] + score.missed[entity] < 10:
            problems.append(f"{entity}: only {score.right[entity] + score.missed[entity]} values to judge it by")
            continue
        least = 0.99 if entity in CHECKED else 0.95
        if score.precision(entity) < least:
            problems.append(f"{entity}: precision {score.precision(entity):.3f} is below {least}")
        if score.recall(entity) < RECALL.get(entity, least):
            problems.append(f"{entity}: recall {score.recall(entity):.3f} is below {RECALL.get(entity, least)}")
    return problems


def share_of_nine_digits(count: int, seed: int) -> float:
    """How many of random nine-digit ids any detector takes for something."""
    finder, chance = mask.Finder(mask.ENTITIES), random.Random(seed)
    return sum(bool(finder.find(f'{{"id":{chance.randrange(10**8, 10**9)}}}'.encode())) for _ in range(count)) / count

"""Precision and recall of detectors on a corpus, by exact spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from kproxy._ext import mask
from tests.accuracy.corpus import Record

Spans = Iterable[tuple[str, int, int]]
#: What is also right for an entity where another stands: one value may be two things.
ALSO = {
    "api_key": {
        "github_token",
        "gitlab_token",
        "slack_token",
        "stripe_key",
        "aws_access_key_id",
        "gcp_api_key",
        "password",
        "aws_secret_key",
        "azure_storage_key",
    },
    "password": {"api_key"},
    "credit_card": {"iban"},
    "email": {"url_credentials"},
    "ipv4": {"ipv6"},
    "national_phone": {"phone"},
    "us_ssn": {"us_itin"},
    "jwt": {"auth_header"},
}


class Score:
    """``right`` found as it stands, ``wrong`` found where it is not, ``missed`` not found, by entity."""

    def __init__(self) -> None:
        self.right: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, record: Record, found: Spans) -> None:
        expected = set(record.spans)
        finds = set(found)
        for entity, start, end in finds:
            if (entity, start, end) in expected:
                self.right[entity] += 1
            elif not any(
                start < last and first < end and other in ALSO.get(entity, ()) for other, first, last in expected
            ):
                self.wrong[entity] += 1
                self._keep(entity, "wrong", record.plain, start, end)
        for entity, start, end in expected - finds:
            self.missed[entity] += 1
            self._keep(entity, "missed", record.plain, start, end)

    def _keep(self, entity: str, what: str, plain: bytes, start: int, end: int) -> None:
        kept = self.examples.setdefault(entity, [])
        if len(kept) < 5:
            around = plain[max(0, start - 40) : start], plain[start:end], plain[end : end + 20]
            kept.append(f"{what}: {'|'.join(part.decode('utf-8', 'replace') for part in around)}")

    def precision(self, entity: str) -> float:
        found = self.right[entity] + self.wrong[entity]
        return self.right[entity] / found if found else 1.0

    def recall(self, entity: str) -> float:
        there = self.right[entity] + self.missed[entity]
        return self.right[entity] / there if there else 1.0


def by_kproxy() -> Callable[[bytes], list[tuple[str, int, int]]]:
    finder = mask.Finder(mask.ENTITIES)
    return lambda plain: [(entity, at, at + length) for entity, at, length in finder.find(plain)]


def scored(corpus: Iterable[Record], find: Callable[[bytes], Spans]) -> Score:
    score = Score()
    for record in corpus:
        score.add(record, find(record.plain))
    return score

"""kproxy that looks into every record, with rules that hide an e-mail field and card numbers, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.rig import Rig, Running
from bench.rungs.through_kproxy import POLICY, kproxy

ABOUT = "kproxy with one field rule and two detectors on every topic"
MASKS = """\
masks:
  - {name: contact, topics: ["bench-*"], directions: [produce, consume], fields: [user.email], action: redact}
  - {name: cards, topics: ["bench-*"], directions: [produce, consume], detect: [credit_card, iban],
     action: {mask: {keep_last: 4}}}
"""


@contextmanager
def start(rig: Rig) -> Iterator[Running]:
    with kproxy(rig, "kproxy-masked", policy=POLICY + MASKS) as running:
        yield running

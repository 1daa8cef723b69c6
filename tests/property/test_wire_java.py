"""Kafka's own classes as the oracle: what the codec builds, Java reads and writes to the same bytes; what Java would
read in another way, or not at all, the walk does not let through."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from kproxy._ext import schema
from kproxy.errors import WireError
from tests.support.java import oracle_command
from tests.support.messages import random_values, without_default_tags

EVERY = schema.served_messages()
Message = tuple[int, bool, int, bytes]


@pytest.fixture(scope="module")
def command() -> list[str]:
    return oracle_command("WireOracle")


def ask(command: list[str], messages: list[Message]) -> list[bytes | str]:
    """What Java writes for each body, or why it refused it."""
    sent = b"".join(struct.pack(">hhbi", api, version, response, len(body)) + body
                    for api, response, version, body in messages)
    done = subprocess.run(command, input=sent, capture_output=True, timeout=90, check=True)
    answers: list[bytes | str] = []
    at = 0
    while at < len(done.stdout):
        size = struct.unpack_from(">i", done.stdout, at)[0]
        at += 4
        if size < 0:
            size = struct.unpack_from(">i", done.stdout, at)[0]
            answers.append(done.stdout[at + 4:at + 4 + size].decode())
            at += 4 + size
        else:
            answers.append(done.stdout[at:at + size])
            at += size
    assert len(answers) == len(messages), done.stderr[-2000:]
    return answers


def test_java_reads_and_writes_the_same_bytes(command: list[str]) -> None:
    messages: list[Message] = []
    for api, response, version in EVERY:
        chance = random.Random(f"java {api} {response} {version}")
        for _ in range(12):
            values = random_values(chance, api, version, response)
            values = without_default_tags(values, schema.fields_of(api, response), version)
            messages.append((api, response, version, schema.build(api, version, response, values)))
    assert len(messages) >= 1000
    for (api, response, version, body), answer in zip(messages, ask(command, messages), strict=True):
        assert answer == body, (api, response, version, body.hex(), answer)


def test_what_the_walk_lets_through_java_reads_the_same_way(command: list[str]) -> None:
    """Bodies with a byte or two changed. One that the walk takes must be read by Java, and to the very same values."""
    chance = random.Random(20261122)
    taken: list[Message] = []
    refused = 0
    while len(taken) < 1500:
        api, response, version = chance.choice(EVERY)
        body = bytearray(schema.build(api, version, response, random_values(chance, api, version, response, most=2)))
        if not body:
            continue
        for _ in range(chance.randint(1, 2)):
            body[chance.randrange(len(body))] = chance.choice((0, 1, 2, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        try:
            schema.walk(api, version, response, bytes(body))
            values = schema.parse(api, version, response, bytes(body))
            again = schema.build(api, version, response,
                                 without_default_tags(values, schema.fields_of(api, response), version))
        except WireError:
            refused += 1
            continue
        if again == bytes(body) and is_canonical(values, schema.fields_of(api, response)):
            taken.append((api, response, version, bytes(body)))
    assert refused > 500
    for (api, response, version, body), answer in zip(taken, ask(command, taken), strict=True):
        assert answer == body, (api, response, version, body.hex(), answer)


def is_canonical(values: dict[str, Any], fields: Sequence[schema.Field]) -> bool:
    """Whether Java would write it the same: it replaces bytes that are not UTF-8, and writes 1 for any bool that is not
    0."""
    return all(_canonical(values[field.name], field) for field in fields if field.name in values)


def _canonical(value: Any, field: schema.Field) -> bool:
    if isinstance(value, list):
        return all(_canonical(one, field) for one in value)
    if isinstance(value, dict):
        return is_canonical(value, field.fields)
    if isinstance(value, str):
        return not any("\ud800" <= one <= "\udfff" for one in value)
    return field.type != "bool" or isinstance(value, bool)

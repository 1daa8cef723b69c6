"""Fixtures shared by every folder of tests. Whatever needs Java is started only by the tests that ask for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if TYPE_CHECKING:
    from tests.support.java import JavaDriver
    from tests.support.kafka_broker import KafkaBroker
    from tests.support.stage import Stage


def _need_kafka() -> None:
    """Locally a machine without Java skips with a reason; in CI that would hide the whole suite, so there it fails."""
    from tests.support.kafka_libs import KafkaMissing, java_program, kafka_libs

    try:
        java_program("java")
        java_program("javac")
        kafka_libs()
    except KafkaMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no real Kafka: {missing}")
        pytest.skip(f"no real Kafka: {missing}")


@pytest.fixture(scope="session")
def kafka_jars() -> None:
    """For tests that start a Kafka of their own."""
    _need_kafka()


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """A real Kafka that does not create topics by itself, with ways in that leave room for taps behind kproxy: one for
    the shared stage, others for tests that bring a stage of their own."""
    from tests.support.kafka_broker import KafkaBroker

    _need_kafka()
    with KafkaBroker(taps=["tapped", "tapped2", "tapped3", "tapped4", "tapped5"]) as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_auto_create() -> Iterator[KafkaBroker]:
    """A real Kafka that creates topics on first use."""
    from tests.support.kafka_broker import KafkaBroker

    _need_kafka()
    with KafkaBroker(auto_create=True) as broker:
        yield broker


@pytest.fixture(scope="session")
def java() -> Iterator[JavaDriver]:
    """The Java client in one virtual machine."""
    from tests.support.java import JavaDriver

    _need_kafka()
    driver = JavaDriver()
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def stage(kafka: KafkaBroker, java: JavaDriver) -> Iterator[Stage]:
    """kproxy before a real Kafka, with taps; shared, so each test makes topics of its own and breaks nothing."""
    from tests.support.stage import Stage

    with Stage(kafka, java) as stage:
        yield stage

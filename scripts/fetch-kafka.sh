#!/usr/bin/env bash
# Fetches the jars of Apache Kafka that the integration tests and the benches run (see tests/java/pom.xml).
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" -m tests.support.kafka_libs

#!/usr/bin/env bash
# A real Kafka of one broker at 127.0.0.1:9092 (or another port: scripts/kafka.sh 9192), without a login, with topics made
# on first use. It runs until Ctrl-C and its data goes with it. For trying kproxy out; the tests start the same one.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -x .venv/bin/python ]; then
    echo "scripts/kafka.sh: there is no .venv here; run: make setup" >&2
    exit 1
fi
scripts/apt_packages.sh build test
.venv/bin/python -m tests.support.kafka_libs >/dev/null
exec .venv/bin/python -m tests.support.kafka_broker --auto-create --port "${1:-9092}"

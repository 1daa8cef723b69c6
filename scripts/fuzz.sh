#!/usr/bin/env bash
# Runs every harness of tests/fuzz (or those named: fuzz.sh identity …) for FUZZ_SECONDS each, 30 by default.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-30}
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for file in tests/fuzz/fuzz_*.py; do
        name=${file##*/fuzz_}
        names+=("${name%.py}")
    done
fi
for name in "${names[@]}"; do
    echo "== fuzz $name, $seconds s"
    .venv/bin/python -m "tests.fuzz.fuzz_$name" --seconds "$seconds"
done

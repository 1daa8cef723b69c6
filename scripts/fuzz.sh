#!/usr/bin/env bash
# Runs every harness of tests/fuzz (or those named: fuzz.sh identity …) under the sanitizers, for FUZZ_SECONDS (30) each on top
# of its stored corpus, and prints how many edges each has seen. KPROXY_BUILD=release runs them on the modules as built.
set -euo pipefail
cd "$(dirname "$0")/.."
export FUZZ_SECONDS=${FUZZ_SECONDS:-30}
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for file in tests/fuzz/fuzz_*.py; do
        name=${file##*/fuzz_}
        names+=("${name%.py}")
    done
fi
for name in "${names[@]}"; do
    if [ "${KPROXY_BUILD:-}" = release ]; then
        .venv/bin/python -m "tests.fuzz.fuzz_$name" --seconds "$FUZZ_SECONDS"
    else
        scripts/sanitize.sh --fuzz "$name"
    fi
done

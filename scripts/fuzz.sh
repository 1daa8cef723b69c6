#!/usr/bin/env bash
# Runs every harness of tests/fuzz (or those named: fuzz.sh identity …) under the sanitizers, for FUZZ_SECONDS (30) each on
# top of its stored corpus, two at a time, and prints how many edges each has seen.
#   fuzz.sh --store [NAME …]      writes the stored corpora anew out of what was found
# KPROXY_BUILD=release runs them on the modules as built.
set -euo pipefail
cd "$(dirname "$0")/.."
export FUZZ_SECONDS=${FUZZ_SECONDS:-30}
more=()
if [ "${1:-}" = "--store" ]; then
    more=(--store)
    shift
fi
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for file in tests/fuzz/fuzz_*.py; do
        name=${file##*/fuzz_}
        names+=("${name%.py}")
    done
fi
if [ "${KPROXY_BUILD:-}" = release ]; then
    run=(.venv/bin/python -m tests.fuzz.fuzz_{} --seconds "$FUZZ_SECONDS")
else
    scripts/sanitize.sh --build
    run=(scripts/sanitize.sh --built --fuzz {})
fi
printf '%s\n' "${names[@]}" | xargs -P 2 -I {} "${run[@]}" "${more[@]}"
tree=${SANITIZE_TREE:-build/sanitize}
if [ ${#more[@]} -gt 0 ] && [ "${KPROXY_BUILD:-}" != release ]; then
    mkdir -p tests/fuzz/corpus
    cp -- "$tree"/tests/fuzz/corpus/*.inputs tests/fuzz/corpus/
fi

#!/usr/bin/env bash
# Every check that reads the code without running it. All of them run, so that one round shows all there is to mend.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=()
run() {
    local name=$1
    shift
    echo "== $name"
    "$@" || failed+=("$name")
}
run ruff .venv/bin/ruff check .
run mypy .venv/bin/python -m mypy
run import-linter .venv/bin/lint-imports
run house .venv/bin/python -m tests.house
if [ ${#failed[@]} -ne 0 ]; then
    echo "lint: failed: ${failed[*]}" >&2
    exit 1
fi
echo "lint: all good"

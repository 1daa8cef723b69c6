#!/usr/bin/env bash
# The test suite: test.sh [--full] [pytest arguments]. Without --full the tests marked slow stay out.
# Under CI=true tests.support.ci_guard makes a skipped integration or client test a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
only=(-m "not slow")
if [ "${1:-}" = "--full" ]; then
    only=()
    shift
fi
exec .venv/bin/python -m pytest -p tests.support.ci_guard "${only[@]}" "$@"

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
# Half of the suite waits for brokers and clients, so two processes take its files by turns. A file stays in one of them.
if [ $# -eq 0 ]; then set -- -n 2 --dist loadfile; fi
exec .venv/bin/python -m pytest -p tests.support.ci_guard "${only[@]}" "$@"

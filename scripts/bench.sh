#!/usr/bin/env bash
# The ladder of bench/: bench.sh [RUNG…] [options], as `kproxy bench`. Without arguments: direct, HAProxy, kproxy.
set -euo pipefail
cd "$(dirname "$0")/.."
exec .venv/bin/python -m bench "$@"

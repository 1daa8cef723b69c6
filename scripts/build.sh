#!/usr/bin/env bash
# Builds the native modules in place. One build at a time: two would write the same object files.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
exec 9>build/.lock
flock 9
exec .venv/bin/python setup.py -q build_ext --inplace --parallel 2 "$@"

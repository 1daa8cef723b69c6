#!/usr/bin/env bash
# Everything a target needs, and nothing more: setup.sh [test|bench|fuzz …]. Quick when there is nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/apt_packages.sh build "$@"
scripts/venv.sh
scripts/build.sh

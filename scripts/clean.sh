#!/usr/bin/env bash
# Removes what was built, but neither .venv nor .cache, which take long to fetch again.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
rm -f kproxy/_ext/*.so
find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

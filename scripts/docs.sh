#!/usr/bin/env bash
# Holds the documentation against the code, then writes it as linked HTML pages into build/docs.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m tests.house make-targets commands shown-commands metrics config-keys files-named journey
.venv/bin/python scripts/render_docs.py

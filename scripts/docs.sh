#!/usr/bin/env bash
# Writes the tables of keys anew, holds the documentation against the code, then writes it as linked HTML pages into build/docs.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python scripts/reference.py
.venv/bin/python scripts/log_events.py
.venv/bin/python scripts/compatibility.py
.venv/bin/python -m tests.house make-targets commands shown-commands metrics config-keys reference files-named \
    close-causes journey
.venv/bin/python scripts/render_docs.py

#!/usr/bin/env bash
# Builds sdist and wheel into dist/, and beside them the names of the Debian packages whose shared libraries the wheel
# links against, so that whoever installs it (the Dockerfile's runtime stage) needs no list of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf dist
.venv/bin/python -m build --no-isolation --outdir dist . >build/wheel.log 2>&1 || { tail -n 40 build/wheel.log >&2; exit 1; }
if command -v dpkg-query >/dev/null 2>&1; then
    unpacked=$(mktemp -d)
    trap 'rm -rf "$unpacked"' EXIT
    .venv/bin/python -m zipfile -e dist/*.whl "$unpacked"
    find "$unpacked" -name '*.so' -exec ldd {} + | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
        while read -r library; do
            # Where /lib is a link to /usr/lib, dpkg knows some files by the one name and some by the other.
            real=$(readlink -f "$library")
            dpkg-query -S "$real" 2>/dev/null || dpkg-query -S "${real#/usr}" 2>/dev/null || true
        done |
        cut -d : -f 1 | sort -u >dist/debian-packages.txt
fi
ls dist

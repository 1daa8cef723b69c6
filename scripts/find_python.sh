#!/usr/bin/env bash
# Prints the Python to build with: the first of these names that runs and is 3.11 or newer. PYTHON=… overrides.
set -euo pipefail
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        echo "$candidate"
        exit 0
    fi
done
echo "kproxy needs Python 3.11 or newer; none of ${PYTHON:-python3 python3.13 python3.12 python3.11} is" >&2
exit 1

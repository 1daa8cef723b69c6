#!/usr/bin/env bash
# Makes .venv with the locked dependencies and the `kproxy` program. A stamp over all that decides its content makes
# the second run quick; the native modules are built by build.sh, which knows by itself what has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(scripts/find_python.sh)
wanted=$({ "$python" --version; cat requirements.lock pyproject.toml scripts/venv.sh; } | sha256sum | cut -d ' ' -f 1)
stamp=.venv/.stamp
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
mkdir -p build
exec 9>build/.venv-lock
flock 9
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    rm -rf .venv
    "$python" -m venv .venv
fi
echo "installing the locked Python packages into .venv"
.venv/bin/python -m pip install -q --disable-pip-version-check -r requirements.lock
# No extension modules here: pip would compile them all once more in a folder of its own.
if ! KPROXY_MODULES=none .venv/bin/python -m pip install -q --disable-pip-version-check \
    --no-deps --no-build-isolation -e . >build/venv.log 2>&1; then
    cat build/venv.log >&2
    exit 1
fi
echo "$wanted" >"$stamp"

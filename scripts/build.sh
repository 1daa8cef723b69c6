#!/usr/bin/env bash
# Builds the native modules in place. One build at a time: two would write the same object files.
# Only what changed is built again; another flavour (KPROXY_BUILD, see setup.py) builds everything again.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
exec 9>build/.lock
flock 9
flavour=${KPROXY_BUILD:-release}
force=()
if [ "$(cat build/.flavour 2>/dev/null || echo "$flavour")" != "$flavour" ]; then
    force=(--force)
fi
if ! compgen -G 'kproxy/_ext/*.so' >/dev/null; then
    echo "building the native modules, which takes three to five minutes"
fi
.venv/bin/python setup.py -q build_ext --inplace --parallel 2 "${force[@]}" "$@"
echo "$flavour" >build/.flavour

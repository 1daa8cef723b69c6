#!/usr/bin/env bash
# Builds the native modules with the address and undefined-behaviour sanitizers, in a copy of the tree under build/sanitize,
# and runs what exercises them there: their unit and property tests, then each native fuzz harness for FUZZ_SECONDS (10).
#   sanitize.sh                              everything
#   sanitize.sh tests/unit/test_mask.py      only these pytest arguments, no fuzzing
#   sanitize.sh --fuzz wire [--seed 1 …]     only this harness
#   sanitize.sh --build                      only builds; --built before other words builds nothing
# KPROXY_MODULES builds only the modules named, SANITIZE_TREE puts the copy elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
tree=${SANITIZE_TREE:-$root/build/sanitize}

build() {
    mkdir -p "$tree"
    # Files keep their times, so only what changed since the last run is compiled again.
    for part in _ext kproxy tests setup.py pyproject.toml README.md; do
        cp -a --update -- "$part" "$tree/"
    done
    # What Cython made of the modules is the same in every flavour but debug and coverage.
    if [ -d build/cython ]; then mkdir -p "$tree/build" && cp -a --update build/cython "$tree/build/"; fi
    rm -f "$tree"/kproxy/_ext/*.so
    cd "$tree"
    if [ -d so ]; then cp -a so/*.so kproxy/_ext/ 2>/dev/null || true; fi
    KPROXY_BUILD=sanitize "$root/.venv/bin/python" setup.py -q build_ext --inplace --parallel 2
    mkdir -p so && cp -a kproxy/_ext/*.so so/
    gcc -O2 -Wall -Wextra -shared -fPIC -o "$tree/edges.so" "$root/tests/fuzz/native/edges.c"
}

if [ "${1:-}" = "--built" ]; then
    shift
else
    build
fi
if [ "${1:-}" = "--build" ]; then exit 0; fi
cd "$tree"

# The interpreter itself is not instrumented, so the runtimes come before it. Python's own arenas hide overflows and its
# interned objects are no leaks. C++ libraries of others allocate with new and free through their own copies.
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so) $(gcc -print-file-name=libstdc++.so) $tree/edges.so"
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:alloc_dealloc_mismatch=0
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export PYTHONMALLOC=malloc PYTHONPATH=$tree
python=$root/.venv/bin/python
"$python" - "$tree" <<'CHECK'
import sys
import kproxy._ext.record_batch as module
assert module.__file__.startswith(sys.argv[1]), f"{module.__file__} is not the sanitized build"
CHECK
if [ "${1:-}" = "--fuzz" ]; then
    shift
    exec "$python" -m "tests.fuzz.fuzz_$1" --seconds "${FUZZ_SECONDS:-10}" "${@:2}"
fi
if [ $# -gt 0 ]; then
    exec "$python" -m pytest -q -p no:cacheprovider -p no:faulthandler --capture=sys "$@"
fi
native=$(grep -lE 'kproxy\._ext|from tests\.fuzz' tests/unit/test_*.py tests/property/test_*.py tests/playbook/test_*.py)
# shellcheck disable=SC2086
"$python" -m pytest -q -p no:cacheprovider -p no:faulthandler --capture=sys -m "not slow and not integration" $native
for file in tests/fuzz/fuzz_*.py; do
    # Only a parser in Python is watched by Lines. A harness may reach a native module through others, as yaml does.
    if grep -q 'edges=Lines(' "$file"; then continue; fi
    name=$(basename "$file" .py)
    echo "== $name, ${FUZZ_SECONDS:-10} s"
    "$python" -m "tests.fuzz.$name" --seconds "${FUZZ_SECONDS:-10}"
done

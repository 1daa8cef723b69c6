#!/usr/bin/env bash
# Installs the wheel of FOLDER (dist/ by default) into a fresh virtual environment at TARGET (/opt/kproxy), with the
# system's shared libraries it needs. What a container's runtime stage does, and a host without the sources can.
set -euo pipefail
folder=${1:-dist}
target=${2:-/opt/kproxy}
constraints=$(dirname "$0")/../requirements.lock
if [ "$(id -u)" -eq 0 ] && [ -s "$folder/debian-packages.txt" ] && command -v apt-get >/dev/null 2>&1; then
    mapfile -t packages < <(while read -r name; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done <"$folder/debian-packages.txt")
    if [ ${#packages[@]} -ne 0 ] || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv "${packages[@]}" >/dev/null
    fi
fi
python=$("$(dirname "$0")/find_python.sh")
"$python" -m venv "$target"
"$target/bin/python" -m pip install -q --disable-pip-version-check -c "$constraints" "$folder"/kproxy-*.whl
"$target/bin/kproxy" --help >/dev/null
echo "installed: $target/bin/kproxy"

#!/usr/bin/env bash
# Makes sure that what a target needs from the system is there: apt_packages.sh build|test|bench|fuzz|clients …
# It looks for the thing itself (a header, a program), so a machine that has it from elsewhere is left alone.
# What is missing is installed with apt-get where that is allowed; else this says what is missing and how to get it.
set -euo pipefail

missing=()

need_program() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }

need_header() {
    if ! command -v g++ >/dev/null 2>&1 || ! printf '#include <%s>\n' "$1" | g++ -std=c++17 -E -x c++ - >/dev/null 2>&1; then
        missing+=("$2")
    fi
}

need_python() {
    local python version
    if ! python=$(scripts/find_python.sh); then
        missing+=(python3 python3-venv python3-dev)
        return
    fi
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("python$version-venv")
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || missing+=("python$version-dev")
}

need_java() {
    local version=""
    version=$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p') || true
    [ "${version:-0}" -ge 17 ] || missing+=(default-jdk-headless)
}

check() {
    missing=()
    local group
    for group in "$@"; do
        case "$group" in
        build)
            need_python
            need_program g++ g++
            need_header re2/re2.h libre2-dev
            need_header simdjson.h libsimdjson-dev
            need_header lz4frame.h liblz4-dev
            need_header zstd.h libzstd-dev
            need_header snappy.h libsnappy-dev
            need_header zlib.h zlib1g-dev
            need_header openssl/evp.h libssl-dev
            need_header yaml.h libyaml-dev
            ;;
        test)
            need_program git git
            need_java
            need_program mvn maven
            need_program haproxy haproxy
            need_program kcat kcat
            need_program go golang-go
            need_program node nodejs
            need_program npm npm
            need_program promtool prometheus
            ;;
        bench)
            need_java
            need_program mvn maven
            need_program haproxy haproxy
            ;;
        clients)
            # A client whose native half is compiled here.
            need_header curl/curl.h libcurl4-openssl-dev
            ;;
        fuzz)
            # The sanitizers come with the compiler.
            need_program g++ g++
            ;;
        *)
            echo "apt_packages.sh: no such group: $group" >&2
            exit 2
            ;;
        esac
    done
}

install() {
    local as=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! sudo -n true 2>/dev/null; then
            return 1
        fi
        as=(sudo -n)
    fi
    command -v apt-get >/dev/null 2>&1 || return 1
    echo "installing with apt-get: $*"
    "${as[@]}" apt-get update -qq
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

cd "$(dirname "$0")/.."
check "$@"
[ ${#missing[@]} -eq 0 ] && exit 0
if ! install "${missing[@]}"; then
    echo "kproxy needs packages that are not here and that this user may not install. As root:" >&2
    echo "    apt-get update && apt-get install -y ${missing[*]}" >&2
    exit 1
fi
check "$@"
if [ ${#missing[@]} -ne 0 ]; then
    echo "still missing after apt-get: ${missing[*]}" >&2
    exit 1
fi

#!/usr/bin/env bash
# Builds the load generator and the blackhole broker into bench/out/bin. They need g++, liblz4, libzstd and OpenSSL.
set -euo pipefail
cd "$(dirname "$0")"
out=../out/bin
mkdir -p "$out"
for program in blackhole load; do
    if [ "$out/$program" -nt "$program.cpp" ] && [ "$out/$program" -nt wire.hpp ] && [ "$out/$program" -nt tls.hpp ] && [ "$out/$program" -nt build.sh ]; then
        continue
    fi
    "${CXX:-g++}" -std=c++17 -O2 -g -Wall -Wextra -o "$out/$program.new" "$program.cpp" -llz4 -lzstd -lssl -lcrypto
    mv "$out/$program.new" "$out/$program"
done

#!/bin/sh
# NAME.conf for each NAME.token: what kcat needs to log in with it. The file is its owner's alone, and the token stays off
# the command line, which anybody on the machine may read.
set -eu
umask 077
for name; do
    { cat kcat.conf; echo "sasl.password=$(cat "$name.token")"; } >"$name.conf"
done

#!/usr/bin/env bash
# The user that a container or a unit runs kproxy as, and the two folders that are its own: /run/kproxy (sockets, the
# snapshot) and /var/lib/kproxy (spool, audit, event log), 0700 both.
set -euo pipefail
if ! id kproxy >/dev/null 2>&1; then
    useradd --system --user-group --home-dir /var/lib/kproxy --shell /usr/sbin/nologin kproxy
fi
install -d -m 0700 -o kproxy -g kproxy /run/kproxy /var/lib/kproxy

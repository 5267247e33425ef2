#!/bin/sh
# Makes what is missing in /keys: a directory for each reader, with files that only it can read.
set -eu
umask 077

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# give FILE OWNER TEXT
give() {
    directory=$(dirname "/keys/$1")
    mkdir -p "$directory"
    [ -s "/keys/$1" ] || printf '%s\n' "$3" >"/keys/$1"
    chown -R "$2" "$directory"
}

chmod 755 /keys
# Users of the images: nodes 65532, PostgreSQL 999, Prometheus 65534, Grafana 472.
give nodes/cluster.key 65532 "$(random)"
give nodes/ops.token 65532 "$(random)"
give nodes/postgres.password 65532 "$(random)"
give postgres/password 999 "$(cat /keys/nodes/postgres.password)"
give prometheus/ops.token 65534 "$(cat /keys/nodes/ops.token)"
give grafana/password 472 "$(random)"

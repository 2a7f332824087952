#!/bin/sh
# Runs the bench against the servers that tests/services started, counting their CPU time too.
set -eu
pid() {
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["pid"])' "$REDLINE_TEST_SERVICES/$1.json"
}
exec target/release/redline bench \
    --server "kafka=$(pid kafka)" --server "postgres=$(pid postgres)" --server "redis=$(pid redis)" "$@"

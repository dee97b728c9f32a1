#!/bin/sh
# Pairs of lock and unlock a second, beside those of Redis, PostgreSQL's advisory locks and etcd, whichever
# are installed: sh scripts/peers_bench.sh [--clients N,N..] [--for 3s] [--only memory|disk|cluster] [--json]
set -eu
cd "$(dirname "$0")/.."

# As it ships.
cargo build --profile dist --locked -q -p lockwright --bin lockwright --example peers_bench
built="${CARGO_TARGET_DIR:-target}/dist"
exec "$built/examples/peers_bench" "$built/lockwright" "$@"

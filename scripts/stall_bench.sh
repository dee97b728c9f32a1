#!/bin/sh
# How long others wait while a server answers something large, saves its state, or ends many locks:
# sh scripts/stall_bench.sh [--locks N] [--storage memory|disk|cluster]... [--only TEXT] [--json]
set -eu
cd "$(dirname "$0")/.."

# As it ships.
cargo build --profile dist --locked -q -p lockwright --bin lockwright --example stall_bench
built="${CARGO_TARGET_DIR:-target}/dist"
exec "$built/examples/stall_bench" "$built/lockwright" "$@"

#!/bin/sh
# The benchmarks: of the engine, as a table beside the floor, and of the locks in one process beside
# other mutexes. Arguments go to criterion: `--quick` for a rough answer, a name for some of them.
set -eu
cd "$(dirname "$0")/.."
[ "${1:-}" != -- ] || shift
target=${CARGO_TARGET_DIR:-target}

cargo bench --locked -p lockwright-engine --bench engine -- "$@"
# Memory is measured by the same program each time, and takes no arguments.
cargo bench --locked -q -p lockwright-engine --bench footprint | tee "$target/footprint.jsonl"
python3 scripts/bench_table.py "$target/criterion" "$target/footprint.jsonl"
exec sh scripts/bench_local.sh -- "$@"

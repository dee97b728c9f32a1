#!/bin/sh
# The benchmarks of the engine, and of the locks in one process. Arguments go to cargo bench:
# `-- --quick` for a rough answer, `-- NAME` for some of them.
set -eu
cd "$(dirname "$0")/.."
cargo bench --locked -p lockwright-engine "$@"
exec sh scripts/bench_local.sh "$@"

#!/bin/sh
# The benchmarks of the locks in one process, beside the engine alone and other mutexes. Arguments go
# to cargo bench: `-- --quick` for a rough answer, `-- NAME` for some of them.
set -eu
cd "$(dirname "$0")/.."
exec cargo bench --locked -p lockwright-local "$@"

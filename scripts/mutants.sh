#!/bin/sh
# Changes the engine at one place at a time, and reports the changes that its own tests do not notice.
#
#   sh scripts/mutants.sh                         all of engine/src
#   sh scripts/mutants.sh -f engine/src/tree.rs   one file
#   JOBS=4 sh scripts/mutants.sh                  so many at once, by default 2
#
# Further arguments go to cargo-mutants. The lists of what was caught, missed, and does not build come
# to target/mutants/mutants.out. Exit 0 when every mutant is caught, 2 when one is missed, 3 when one
# only ran into the time limit; those that are known are in docs/engine.md.
# Needs: cargo install cargo-mutants --locked
set -eu
cd "$(dirname "$0")/.."

if ! cargo mutants --version >/dev/null 2>&1; then
    echo "cargo-mutants is missing: cargo install cargo-mutants --locked" >&2
    exit 1
fi

out=${CARGO_TARGET_DIR:-$PWD/target}/mutants
mkdir -p "$out"
# Each job builds in a copy of its own; a directory that is shared would be built over and over.
unset CARGO_TARGET_DIR
exec cargo mutants --package lockwright-engine --jobs "${JOBS:-2}" --timeout 30 --output "$out" "$@" \
    -- --locked --lib --tests

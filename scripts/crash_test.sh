#!/bin/sh
# Kills a server that keeps its locks on the disk, at random moments and under load, and checks after
# each start that all that it had acknowledged is there: sh scripts/crash_test.sh [ROUNDS] [OPTION..]
set -eu
cd "$(dirname "$0")/.."

rounds=20
case ${1-} in
'' | -*) ;;
*)
    rounds=$1
    shift
    ;;
esac
cargo build --locked -q -p lockwright --bin lockwright --example crash_test
built="${CARGO_TARGET_DIR:-target}/debug"
exec "$built/examples/crash_test" "$built/lockwright" --rounds "$rounds" "$@"

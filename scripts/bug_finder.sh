#!/bin/sh
# Builds the bug finder and hunts: for ever, on all cores, silently until it finds something.
# Arguments are those of `bug-finder run`; -h lists them.
set -eu
cd "$(dirname "$0")/.."

# The progress of the build is for somebody who watches.
quiet=-q
[ -t 2 ] && quiet=
# shellcheck disable=SC2086 # no word when there is nothing to say
cargo build --release --locked $quiet -p bug-finder

# In place of this shell, so that Ctrl-C and SIGTERM reach it.
exec "${CARGO_TARGET_DIR:-target}/release/bug-finder" run "$@"

#!/bin/sh
# Builds the bug finder and hunts: for ever, on all cores, silently until it finds something.
# Arguments are those of `bug-finder run`; -h lists them.
set -eu
cd "$(dirname "$0")/.."

# What is missing is said in one line, before a build fails in many.
need() {
    command -v "$1" >/dev/null 2>&1 && return
    echo "$1 is missing: install $2" >&2
    exit 2
}
wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
need cargo "Rust $wanted or later, from https://rustup.rs"
need rustc "Rust $wanted or later, from https://rustup.rs"
need cc "a C compiler (package gcc or clang), which Rust links with"
found=$(rustc --version | cut -d ' ' -f 2)
if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "rustc $found is too old: install Rust $wanted or later (rustup update stable)" >&2
    exit 2
fi

# The progress of the build is for a terminal only.
quiet=-q
[ -t 2 ] && quiet=
# shellcheck disable=SC2086 # no word when there is nothing to say
cargo build --release --locked $quiet -p bug-finder

# In place of this shell, so that Ctrl-C and SIGTERM reach it.
exec "${CARGO_TARGET_DIR:-target}/release/bug-finder" run "$@"

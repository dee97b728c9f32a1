#!/bin/sh
# Gives bytes to the code that reads them, and looks for what panics.
#
#   sh scripts/fuzz.sh                     every target for 60 s
#   sh scripts/fuzz.sh commands            one, for 60 s
#   sh scripts/fuzz.sh commands 600        for 600 s
#   sh scripts/fuzz.sh minimize [target]   takes what was found into fuzz/corpus, as small as it gets
#
# Needs: rustup toolchain install nightly; cargo install cargo-fuzz --locked
# What is found on the way is kept in fuzz/found, which is not committed; an input that fails comes
# to fuzz/artifacts, with the command that runs it again. Exit 1 when one fails.
set -eu
cd "$(dirname "$0")/.."

# It replaces the flags of .cargo/config.toml, as those of cargo-fuzz do.
export RUSTFLAGS="--cfg tokio_unstable"
# A build of its own, so that the other one is not thrown away each time.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"

# No sanitizer: they look for what unsafe code does, and nothing that is fuzzed has any.
fuzz() {
    command=$1
    shift
    cargo +nightly fuzz "$command" --sanitizer none "$@"
}

targets() {
    for binary in fuzz/fuzz_targets/*.rs; do
        basename "$binary" .rs
    done
}

minimize() {
    echo "== $1: minimize"
    mkdir -p "fuzz/corpus/$1" "fuzz/found/$1"
    smaller=$(mktemp -d)
    # Few inputs that reach all that is reached, and not one for how often something is.
    fuzz run "$1" "$smaller" "fuzz/corpus/$1" "fuzz/found/$1" -- \
        -set_cover_merge=1 -use_counters=0 -max_len=1024 2>&1 | tail -n 1
    rm -rf "fuzz/corpus/$1"
    mv "$smaller" "fuzz/corpus/$1"
    chmod 755 "fuzz/corpus/$1"
}

run() {
    echo "== $1: $2 s"
    mkdir -p "fuzz/corpus/$1" "fuzz/found/$1"
    dictionary=fuzz/dictionaries/$1
    [ ! -e "$dictionary" ] || set -- "$1" "$2" "-dict=$dictionary"
    # The first folder is the one that is written to.
    fuzz run "$1" "fuzz/found/$1" "fuzz/corpus/$1" -- \
        -max_total_time="$2" -max_len=4096 -timeout=20 -print_final_stats=1 ${3:+"$3"}
}

if [ "${1:-}" = minimize ]; then
    for target in ${2:-$(targets)}; do
        minimize "$target"
    done
    exit
fi
for target in ${1:-$(targets)}; do
    run "$target" "${2:-60}"
done

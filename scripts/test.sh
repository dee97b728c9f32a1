#!/bin/sh
# All tests: of the crates, of the traces, of determinism, and of the pipeline itself.
set -eu
cd "$(dirname "$0")/.."

begun=$(date +%s)
step() { printf '\n== [%d s] %s\n' "$(($(date +%s) - begun))" "$*"; }

step "dependencies between the crates"
sh scripts/check_dependencies.sh

# A bug that cannot be planted is not known to be found. `sh scripts/plant.sh` hunts for them.
step "planted bugs apply to the code as it is"
for patch in bug-finder/planted/*.patch; do
    if ! patch -s --dry-run -p1 <"$patch" >/dev/null; then
        echo "$patch does not apply: make it again" >&2
        exit 1
    fi
done

step "tests of the crates"
cargo test --workspace --locked -q
# That has built what the next steps run, which cargo would build again with the features of one crate.
built="${CARGO_TARGET_DIR:-$PWD/target}/debug"

# Each checks what it shows, and fails when it does not hold.
step "the examples of locks in one process"
for example in directory_tree seats configuration; do
    "$built/examples/$example"
done

# A stale write, with real processes: refused by a store that checks tokens, let in by one that does not.
step "the example of fencing"
"$built/examples/fencing"
status=0
"$built/examples/fencing" --without-check || status=$?
if [ "$status" -ne 1 ]; then
    echo "a store that does not check tokens was not overwritten: exit $status instead of 1" >&2
    exit 1
fi

step "a server that is killed keeps what it has acknowledged"
"$built/examples/crash_test" "$built/lockwright" --rounds 20
# A check that cannot fail proves nothing.
status=0
"$built/examples/crash_test" "$built/lockwright" --rounds 20 --lose-rounds >/dev/null || status=$?
if [ "$status" -ne 1 ]; then
    echo "data that was lost on purpose was not missed: exit $status instead of 1" >&2
    exit 1
fi

step "the bug finder"
cargo build --release --locked -q -p bug-finder
finder="${CARGO_TARGET_DIR:-target}/release/bug-finder"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

step "scripts and traces"
"$finder" regress traces

step "every order of events in a small world"
"$finder" model

# Each seed twice, in two processes; the service takes more time per seed.
step "determinism, and a short hunt"
"$finder" run --profile engine --seeds 0..200 --check-determinism --out findings
"$finder" run --profile service --seeds 0..120 --check-determinism --out findings
"$finder" run --profile fencing --seeds 0..120 --check-determinism --out findings
"$finder" run --profile cluster --seeds 0..60 --check-determinism --out findings

# A hunt that cannot fail says nothing by its silence.
for canary in violation abort; do
    step "the canary must be found: $canary"
    status=0
    "$finder" run --profile engine --seeds 0..100 --canary "$canary" --out "$out" || status=$?
    if [ "$status" -ne 1 ]; then
        echo "a world that is broken on purpose was not found: exit $status instead of 1" >&2
        exit 1
    fi
done
step "the canary must be found: a store that does not check tokens"
status=0
"$finder" run --profile fencing --seeds 0..100 --unchecked-store --shrink-for 5s --out "$out" || status=$?
if [ "$status" -ne 1 ]; then
    echo "a stale write that was let in was not found: exit $status instead of 1" >&2
    exit 1
fi
step "the canary must be found: nondeterminism"
status=0
"$finder" run --profile engine --seeds 0..100 --canary nondeterminism --check-determinism \
    --out "$out" || status=$?
if [ "$status" -ne 3 ]; then
    echo "a world that is not deterministic was not found: exit $status instead of 3" >&2
    exit 1
fi

# Real processes and real sockets: what the simulator cannot run.
for nodes in 1 3; do
    step "real servers that are killed, stopped and cut off: $nodes"
    "$finder" live --server-bin "$built/lockwright" --nodes "$nodes" --for 20s --out findings
done
step "the canary must be found: a server that loses its data"
status=0
"$finder" live --server-bin "$built/lockwright" --for 20s --forget --out "$out" || status=$?
if [ "$status" -ne 1 ]; then
    echo "data that was lost on purpose was not missed: exit $status instead of 1" >&2
    exit 1
fi

step "Locktopus' client from the npm registry"
LOCKWRIGHT_BIN="$built/lockwright" sh scripts/npm_client.sh

step "all passed"

#!/bin/sh
# Plants bugs in a copy of the tree, one at a time, and reports how fast the bug finder finds each.
#
#   sh scripts/plant.sh                  all of bug-finder/planted/*.patch
#   sh scripts/plant.sh server-no-detach a few, by name
#
# A line for each: name, oracle, median CPU seconds to find it over the start seeds, and the size of
# the largest trace after shrinking. Exit 1 when one is not found from some start seed.
# The environment may set STARTS (start seeds), LIMIT and SHRINK (time to find, and to shrink).
set -eu
cd "$(dirname "$0")/.."
starts=${STARTS:-1 100001 200001}
limit=${LIMIT:-120s}
shrink=${SHRINK:-60s}
planted=$PWD/bug-finder/planted
work=${CARGO_TARGET_DIR:-$PWD/target}/planted
tree=$work/tree

# What is measured is the finder, not the linker: quick builds, and only what changed.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_INCREMENTAL=true CARGO_TARGET_DIR="$work/target"

# The tree as it is, with what is not committed yet. What did not change keeps its time, so that
# it is not built again.
copy_tree() {
    mkdir -p "$work/new" "$tree"
    git ls-files -z --cached --others --exclude-standard |
        tar --null --ignore-failed-read -T - -cf - 2>/dev/null | tar -xf - -C "$work/new"
    (cd "$work/new" && find . -type f) | while read -r file; do
        if ! cmp -s "$work/new/$file" "$tree/$file"; then
            mkdir -p "$tree/$(dirname "$file")"
            cp "$work/new/$file" "$tree/$file"
        fi
    done
    rm -rf "$work/new"
}

# The middle one of the numbers in a file.
median() {
    sort -n "$1" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'
}

# Builds the copy, and hunts from each start seed. $1 is the name, $2 the profile.
hunt() {
    out=$work/found/$1
    rm -rf "$out" && mkdir -p "$out"
    if ! (cd "$tree" && cargo build --release --locked --quiet -p bug-finder) >"$out/build" 2>&1; then
        echo "does not build, see $out/build"
        return 1
    fi
    missed=0
    for start in $starts; do
        "$CARGO_TARGET_DIR/release/bug-finder" run --profile "$2" --start "$start" --json \
            --for "$limit" --shrink-for "$shrink" --out "$out/$start" \
            >"$out/$start.jsonl" 2>"$out/$start.log" || true
        # The hunt alone: the summary's time has the shrinking in it.
        grep -v '"summary":true' "$out/$start.jsonl" |
            sed 's/.*"cpu_ms":\([0-9.]*\).*/\1/' |
            awk '{ sum += $1 } END { printf "%.1f\n", sum / 1000 }' >>"$out/cpu"
        if ! cat "$out/$start"/*.json >"$out/$start.trace" 2>/dev/null; then
            missed=$((missed + 1))
            continue
        fi
        tr -d ' \n' <"$out/$start.trace" >"$out/trace"
        sed 's/.*"violation":{"oracle":"\([a-z_]*\)".*/\1/' "$out/trace" >>"$out/oracle"
        echo >>"$out/oracle"
        sed 's/.*"to":{"clients":\([0-9]*\),"commands":\([0-9]*\),"faults":\([0-9]*\)}.*/\2 \1 \3/' \
            "$out/trace" >>"$out/size"
        echo >>"$out/size"
    done
    cpu=$(median "$out/cpu")
    if [ "$missed" -gt 0 ]; then
        echo "not found from $missed of the start seeds, $cpu CPU s"
        [ ! -e "$out/oracle" ] || sort -u "$out/oracle" | tr '\n' ' '
        return 1
    fi
    oracles=$(sed '/^$/d' "$out/oracle" | sort -u | tr '\n' ' ')
    size=$(sed '/^$/d' "$out/size" | sort -n | tail -1)
    # shellcheck disable=SC2086 # three numbers
    set -- $size
    printf '%-32s %8s CPU s  %s commands, %s clients, %s faults\n' "$oracles" "$cpu" "$1" "$2" "$3"
}

if [ $# -eq 0 ]; then
    for patch in "$planted"/*.patch; do
        set -- "$@" "$(basename "$patch" .patch)"
    done
fi
failures=0
for name in "$@"; do
    patch=$planted/$name.patch
    if [ ! -e "$patch" ]; then
        echo "there is no $patch" >&2
        exit 2
    fi
    profile=$(sed -n 's/^Profile: //p' "$patch")
    copy_tree
    printf '%-48s ' "$name"
    if ! patch -s -p1 -d "$tree" <"$patch" >"$work/patch.log" 2>&1; then
        echo "does not apply any more: $(head -1 "$work/patch.log")"
        failures=$((failures + 1))
        continue
    fi
    hunt "$name" "$profile" || failures=$((failures + 1))
done
[ "$failures" -eq 0 ] || { echo "$failures of $# were not found from every start seed" >&2; exit 1; }

#!/bin/sh
# Locktopus' client for JavaScript, as it is in the npm registry, against a server built here, or the program
# that LOCKWRIGHT_BIN names. Needs node and npm.
set -eu
cd "$(dirname "$0")/.."

for tool in node npm; do
    if ! command -v "$tool" >/dev/null; then
        echo "$tool is missing: install Node.js 18 or later with npm, and run this again" >&2
        exit 1
    fi
done

dir=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM

# The lock file has the hash of each package.
cp scripts/npm_client/package.json scripts/npm_client/package-lock.json "$dir"
if ! npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund >"$dir/npm.log" 2>&1; then
    cat "$dir/npm.log" >&2
    echo "the npm registry does not give what scripts/npm_client/package-lock.json names" >&2
    exit 1
fi

binary=${LOCKWRIGHT_BIN:-}
if [ -z "$binary" ]; then
    cargo build --locked -q -p lockwright
    binary="${CARGO_TARGET_DIR:-target}/debug/lockwright"
fi
# An idle timeout that is short enough to be waited for.
# It is read at once, perhaps before the server's process makes it.
: >"$dir/out"
"$binary" serve --memory --listen 127.0.0.1:0 --idle-timeout 1s >"$dir/out" 2>"$dir/err" &
server=$!
address=
tries=0
while [ -z "$address" ]; do
    address=$(sed -n 's/^listening on //p' "$dir/out")
    tries=$((tries + 1))
    if ! kill -0 "$server" 2>/dev/null || [ "$tries" -gt 100 ]; then
        cat "$dir/err" >&2
        echo "the server does not start" >&2
        exit 1
    fi
    sleep 0.1
done

node scripts/npm_client/test.mjs "$address" "$dir" "$server"

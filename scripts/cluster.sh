#!/bin/sh
# A cluster on this machine, to try things out: starts its nodes, says where they are, and stops them
# on Ctrl-C. Builds nothing: it takes the binary that is there.
set -eu

usage() {
    cat <<'HELP'
sh scripts/cluster.sh [--nodes N] [--port PORT] [--dir DIR]

  --nodes N    so many nodes, 1 to 9 [3]
  --port PORT  clients at PORT, PORT+1, ..; nodes among themselves at PORT+100, .. [9009]
  --dir DIR    keep data and logs here, and go on with what is there; without it they are in a
               directory of their own, which is removed in the end

Kill a node to see what happens: kill -9 PID. `lockwright cluster status` shows who leads then.
HELP
}

nodes=3 port=9009 dir=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --nodes | --port | --dir)
        [ $# -gt 1 ] || {
            echo "$1 needs a value" >&2
            exit 2
        }
        case $1 in
        --nodes) nodes=$2 ;;
        --port) port=$2 ;;
        --dir) dir=$2 ;;
        esac
        shift 2
        ;;
    *)
        echo "unknown: $1" >&2
        usage >&2
        exit 2
        ;;
    esac
done
case $nodes in [1-9]) ;; *)
    echo "--nodes is $nodes, expected 1 to 9" >&2
    exit 2
    ;;
esac
case $port in '' | *[!0-9]*)
    echo "--port is $port, expected a number" >&2
    exit 2
    ;;
esac
# Relative to where it was called, and not to where the program is found.
case $dir in '' | /*) ;; *) dir=$PWD/$dir ;; esac
cd "$(dirname "$0")/.."

program=
for kind in release debug; do
    built="${CARGO_TARGET_DIR:-target}/$kind/lockwright"
    if [ -z "$program" ] && [ -x "$built" ]; then
        program=$built
    fi
done
if [ -z "$program" ]; then
    echo "there is no program yet: cargo build --release -p lockwright" >&2
    exit 1
fi

kept=yes
if [ -z "$dir" ]; then
    kept=
    dir=$(mktemp -d)
fi
mkdir -p "$dir"

pids=
stop() {
    trap - EXIT INT TERM
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
    done
    wait
    [ -n "$kept" ] || rm -rf "$dir"
    exit "${1:-0}"
}
trap 'stop $?' EXIT
trap 'stop 0' INT TERM

peers= servers= id=1
while [ "$id" -le "$nodes" ]; do
    client=127.0.0.1:$((port + id - 1))
    peers=${peers:+$peers,}$id=127.0.0.1:$((port + 99 + id))/$client
    servers=${servers:+$servers,}$client
    id=$((id + 1))
done

id=1
while [ "$id" -le "$nodes" ]; do
    # What an earlier run said there does not count.
    : >"$dir/node$id.out"
    "$program" serve --id "$id" --peers "$peers" --data "$dir/node$id" \
        >"$dir/node$id.out" 2>"$dir/node$id.log" &
    pids="$pids $!"
    echo "node $id: 127.0.0.1:$((port + id - 1)), pid $!, log $dir/node$id.log"
    id=$((id + 1))
done

# Each says so when it serves.
id=1
for pid in $pids; do
    tries=0
    until grep -q '^listening on ' "$dir/node$id.out"; do
        tries=$((tries + 1))
        if ! kill -0 "$pid" 2>/dev/null || [ "$tries" -gt 300 ]; then
            echo "node $id does not start:" >&2
            cat "$dir/node$id.log" >&2
            exit 1
        fi
        sleep 0.1
    done
    id=$((id + 1))
done

tries=0
until "$program" cluster status --server "$servers" >"$dir/status" 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then
        echo "the nodes do not agree on a leader:" >&2
        cat "$dir/status" >&2
        exit 1
    fi
    sleep 0.1
done
head -n 1 "$dir/status"
echo "ready: export LOCKWRIGHT_SERVER=$servers"
# A node that is killed leaves the others at work.
wait

#!/bin/sh
# Fails on an arrow between our crates that ARCHITECTURE.md does not have, on a crate under the
# engine that brings I/O, clocks, randomness or a runtime, and on an engine that imports anything
# when it is built for a machine without a system.
set -eu
cd "$(dirname "$0")/.."

metadata=$(mktemp)
trap 'rm -f "$metadata"' EXIT
host=$(rustc -vV | sed -n 's/^host: //p')
cargo metadata --format-version 1 --locked --filter-platform "$host" >"$metadata"

python3 - "$metadata" <<'PYTHON'
import copy
import json
import sys

# Which of our crates each of them may depend on.
ALLOWED = {
    "lockwright-engine": set(),
    "lockwright-local": {"lockwright-engine"},
    "lockwright-env": set(),
    "lockwright-protocol": {"lockwright-engine"},
    "lockwright-client": {"lockwright-protocol", "lockwright-engine", "lockwright-env"},
    "lockwright-server": {"lockwright-engine", "lockwright-protocol", "lockwright-env"},
    "lockwright": {
        "lockwright-server",
        "lockwright-client",
        "lockwright-protocol",
        "lockwright-env",
    },
    "lockwright-sim": {
        "lockwright-engine",
        "lockwright-env",
        "lockwright-protocol",
        "lockwright-client",
        "lockwright-server",
    },
    "lockwright-checker": {"lockwright-sim", "lockwright-engine"},
    "bug-finder": {
        "lockwright-checker",
        "lockwright-sim",
        "lockwright-engine",
        "lockwright-client",
        "lockwright-env",
    },
}

PURE = "lockwright-engine"
# What a pure state machine has no use for: runtimes, I/O, clocks, randomness.
IMPURE = {
    "chrono", "crossbeam", "fastrand", "futures", "getrandom", "hyper", "libc", "mio", "nix",
    "parking_lot", "polling", "rand", "rand_chacha", "rand_core", "rayon", "rustix", "smol",
    "socket2", "time", "tokio", "turmoil", "uuid", "wasm-bindgen", "windows-sys",
}  # fmt: skip
IMPURE_PREFIXES = ("async-", "futures-", "tokio-", "windows-")


def arrows(metadata):
    """(from, to) for each dependency between packages of the workspace.

    What only tests use is left out: the client's tests may well need a server.
    """
    ours = {p["name"]: p for p in metadata["packages"] if p["id"] in metadata["workspace_members"]}
    for name, package in ours.items():
        for dependency in package["dependencies"]:
            if dependency["name"] in ours and dependency["kind"] != "dev":
                yield name, dependency["name"]


def under(metadata, root):
    """What `root` is built with: (name, the way to it), tests and benches left out."""
    names = {p["id"]: p["name"] for p in metadata["packages"]}
    nodes = {n["id"]: n for n in metadata["resolve"]["nodes"]}
    start = next(i for i in metadata["workspace_members"] if names[i] == root)
    ways, todo = {start: [root]}, [start]
    while todo:
        at = todo.pop()
        for dependency in nodes[at]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if dependency["pkg"] not in ways and kinds - {"dev"}:
                ways[dependency["pkg"]] = ways[at] + [names[dependency["pkg"]]]
                todo.append(dependency["pkg"])
    return [(way[-1], " -> ".join(way)) for way in ways.values()]


def complaints(metadata):
    found = []
    for source, target in arrows(metadata):
        if source not in ALLOWED:
            found.append(f"{source}: a crate that this check does not know; add it to ALLOWED")
        elif target not in ALLOWED[source]:
            found.append(f"{source} must not depend on {target}")
    for name, way in under(metadata, PURE):
        if name in IMPURE or name.startswith(IMPURE_PREFIXES):
            found.append(f"{name} has no place under {PURE}: {way}")
    return found


def doctored(metadata, source, target):
    """The same workspace, with `source` depending on `target`."""
    metadata = copy.deepcopy(metadata)
    package = next(p for p in metadata["packages"] if p["name"] == source)
    package["dependencies"].append({"name": target, "kind": None})
    wanted = next(p["id"] for p in metadata["packages"] if p["name"] == target)
    node = next(n for n in metadata["resolve"]["nodes"] if n["id"] == package["id"])
    node["deps"].append({"pkg": wanted, "dep_kinds": [{"kind": None}]})
    return metadata


metadata = json.load(open(sys.argv[1]))

# A check that cannot fail proves nothing.
for source, target in [(PURE, "lockwright-sim"), (PURE, "tokio"), ("lockwright-client", "bug-finder")]:
    if any(p["name"] == target for p in metadata["packages"]):
        found = complaints(doctored(metadata, source, target))
        if not any(source in complaint and target in complaint for complaint in found):
            sys.exit(f"the check is broken: it allows {source} -> {target}")

found = complaints(metadata)
for complaint in found:
    print(complaint, file=sys.stderr)
if found:
    sys.exit(1)
print("no forbidden dependency")
PYTHON

target=wasm32-unknown-unknown
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    echo "skipped: is the engine pure? (needs: rustup target add $target)"
    exit 0
fi
# As a module, and with nothing thrown away, so that whatever the engine needs from outside shows.
module_dir=$(mktemp -d)
trap 'rm -rf "$metadata" "$module_dir"' EXIT
cargo rustc --locked -q -p lockwright-engine --lib --target "$target" --crate-type cdylib \
    --target-dir "$module_dir" -- -C link-dead-code -C link-arg=--no-gc-sections
python3 - "$module_dir/$target/debug/lockwright_engine.wasm" <<'PYTHON'
import sys

IMPORTS = 2  # the id of the section of imports


def number(data, at):
    """An unsigned LEB128 number and what comes after it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


data = open(sys.argv[1], "rb").read()
if data[:4] != b"\0asm":
    sys.exit(f"{sys.argv[1]} is no module")
at = 8
while at < len(data):
    section = data[at]
    size, at = number(data, at + 1)
    if section == IMPORTS and number(data, at)[0] > 0:
        sys.exit("the engine imports something: it is not pure")
    at += size
print("the engine is pure: a module without imports")
PYTHON

#!/usr/bin/env python3
"""Prints what the last run of scripts/bench.sh measured, as a table in multiples of the floor.

Reads the estimates that criterion keeps under the folder that is given, and the lines that the
benchmark of memory printed, from the file that is given. The last column is what the engine is
meant to stay within; it is printed and not enforced, since other work on the machine moves figures.
"""

import json
import sys
from pathlib import Path

FLOOR = "floor/three_nodes_in_and_out"
PAIR = "pair/one_claim"
MILLION = 1_000_000

# id, what it is, how many are done in one go, the most it should take: floors, seconds, times
# another row, or seconds together with another row.
ROWS = [
    (FLOOR, "floor: three nodes into a hash table and out", 1, None),
    (PAIR, "acquire and release, one claim of depth three", 1, ("floors", 6)),
    ("pair/three_claims", "the same, three mixed claims", 1, ("floors", 18)),
    ("pair/beside_1000_held", "one claim, beside 1,000 locks held", 1, None),
    ("pair/beside_1000000_held", "the same, beside 1,000,000", 1, ("times", 3, "pair/beside_1000_held")),
    ("pair/new_path_beside_1000_held", "a new path each time, beside 1,000", 1, None),
    ("pair/new_path_beside_1000000_held", "the same, beside 1,000,000", 1, ("times", 3, "pair/new_path_beside_1000_held")),
    ("pair/anywhere_of_1000_held", "any one of 1,000 locks held, given back and taken", 1, None),
    ("pair/anywhere_of_1000000_held", "the same, of 1,000,000", 1, None),
    ("hand_off/2", "release, hand on, queue again: 2 waiting", 1, ("floors", 10)),
    ("hand_off/64", "the same, 64 waiting", 1, ("floors", 10)),
    ("hand_off/100000", "the same, 100,000 waiting", 1, ("floors", 10)),
    ("readers_behind_a_writer/queue/100000", "100,000 readers queue behind a writer", 100_000, ("seconds", 0.1)),
    ("readers_behind_a_writer/grant/100000", "100,000 readers are granted", 100_000, ("seconds", 0.1)),
    ("expiry/one_by_one", "a million leases run out one by one", MILLION, ("seconds", 1)),
    ("expiry/all_at_once", "a million leases run out at one instant", MILLION, ("seconds", 1)),
    ("snapshot/write_a_million", "a million locks saved as bytes", MILLION, None),
    ("snapshot/read_a_million", "a million locks brought back", MILLION, ("sum", 1.5, "snapshot/write_a_million")),
]

FOOTPRINTS = {
    "bytes_per_lock/three_levels": ("a lock held, paths that share their upper levels", 600),
    "bytes_per_lock/nothing_shared": ("a lock held, paths that share nothing", 600),
    "bytes_per_lock/with_lease": ("a lock held with a lease", 600),
    "bytes_per_cycle/beside_an_old_lock": ("growth for each of ten million cycles beside an old lock", 0.1),
}


def estimates(folder):
    """The median of each benchmark, in nanoseconds."""
    found = {}
    for file in folder.glob("**/new/benchmark.json"):
        name = json.loads(file.read_text())["full_id"]
        medians = json.loads((file.parent / "estimates.json").read_text())["median"]
        found[name] = medians["point_estimate"]
    return found


def shown(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def aim(rule, ns, medians):
    if rule is None:
        return ""
    kind, most = rule[:2]
    if kind == "floors":
        return f"at most {most} floors" + mark(ns <= most * medians[FLOOR])
    if kind == "seconds":
        return f"at most {shown(most * 1e9)}" + mark(ns <= most * 1e9)
    if rule[2] not in medians:
        return ""
    if kind == "sum":
        both = ns + medians[rule[2]]
        return f"both at most {shown(most * 1e9)}, are {shown(both)}" + mark(both <= most * 1e9)
    ratio = ns / medians[rule[2]]
    return f"at most {most} times as long, is {ratio:.2f}" + mark(ratio <= most)


def mark(kept):
    return "" if kept else "  EXCEEDED"


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: bench_table.py CRITERION_FOLDER FOOTPRINT_FILE")
    medians = estimates(Path(sys.argv[1]))
    if FLOOR not in medians:
        sys.exit("the floor was not measured: run `sh scripts/bench.sh` without a filter once")
    print(f"\n{'':58} {'time':>9} {'floors each':>11}  should be")
    for name, what, count, rule in ROWS:
        if name in medians:
            ns = medians[name]
            floors = ns / count / medians[FLOOR]
            print(f"{what:58} {shown(ns):>9} {floors:11.2f}  {aim(rule, ns, medians)}")
    for line in Path(sys.argv[2]).read_text().splitlines():
        row = json.loads(line)
        what, most = FOOTPRINTS[row["name"]]
        limit = f"at most {most}" + mark(row["bytes"] <= most)
        print(f"{what:58} {row['bytes']:7.1f} B {'':11}  {limit}")


if __name__ == "__main__":
    main()

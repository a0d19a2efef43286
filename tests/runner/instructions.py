"""Holds the hot paths to the instructions that they took when their baseline was written.

Counts do not depend on how fast or busy the machine is. Each path of tests/bench/instructions is gone under valgrind's
callgrind, which counts what all threads do while the program is in one function: neither its start nor its end.
Compilers and processors differ in what they make of the same code: the baseline says which ones it was counted with,
and on others there is nothing to hold the counts to.
"""

import json
import platform
import re
import subprocess
from pathlib import Path

from provision import bench, cargo, command
from shell import KEPT, ROOT, Failed, Skipped, start, stop

BASELINE = ROOT / "tests" / "bench" / "instructions.json"
# The function whose instructions are counted, as callgrind names it.
COUNTED = "instructions::counted"
# What callgrind found, for callgrind_annotate.
PROFILES = KEPT / "instructions"
# A path may take this part more than its baseline. Counts of one program differed by 1 % at most, and only in malloc: the
# start does not always leave the same gaps in the heap.
GROWTH = 0.03
HOW_TO_UPDATE = f"`tests/run instructions --update`, and commit {BASELINE.relative_to(ROOT)}"
# No path takes longer under valgrind, however slow the machine.
PATIENCE_S = 600


def check(update=False):
    """Counts, tells, and raises Failed for a path that has grown; or writes the new baseline."""
    if not BASELINE.exists() and not update:
        raise Skipped(f"there is no baseline; {HOW_TO_UPDATE}")
    baseline = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    before = baseline.get("instructions", {})
    found = {"counted_with": counted_with(), "instructions": counts()}
    print(table(before, found["instructions"]), flush=True)
    if update:
        BASELINE.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        print(f"written: {BASELINE.relative_to(ROOT)}", flush=True)
        return
    if baseline.get("counted_with") != found["counted_with"]:
        raise Skipped(f"the baseline was counted with {baseline.get('counted_with')}, and here is {found['counted_with']}")
    if worse := complaints(before, found["instructions"]):
        raise Failed("\n".join(worse))


def counts():
    """Path → the instructions of going it once."""
    program, valgrind = bench("instructions"), command("valgrind")
    PROFILES.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: round(count(valgrind, program, name) / int(times)) for name, times in map(str.split, listed.splitlines())}


def count(valgrind, program, name):
    """The instructions of the counted function and of all threads meanwhile."""
    profile = profile_of(name)
    profile.unlink(missing_ok=True)
    counting = ("--tool=callgrind", "--fair-sched=yes", f"--zero-before={COUNTED}", f"--dump-after={COUNTED}")
    # Callgrind adds a number to the file of each dump but the last, at the end of the program.
    process = start(
        [valgrind, *counting, f"--callgrind-out-file={profile.with_suffix('')}", program, name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        told, _ = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise Failed(f"`{name}` did not end under valgrind") from None
    finally:
        stop(process)
    if process.returncode or not profile.exists():
        raise Failed(f"`{name}` under valgrind: {told.strip()[-1000:]}")
    return int(re.search(r"^totals: (\d+)", profile.read_text(encoding="utf-8"), re.MULTILINE)[1])


def profile_of(name):
    return PROFILES / f"{name}.callgrind.1"


def counted_with():
    """What decides how many instructions the same code takes. Libraries use AVX2, which valgrind has if the machine has it."""
    cargo()
    rustc = subprocess.run(["rustc", "--version"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    has_avx2 = "avx2" in Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    return {"compiler": rustc, "processor": platform.machine() + " with AVX2" * has_avx2}


def change(before, now):
    return now / before - 1


def table(before, found):
    lines = [f"{'path':<14}{'baseline':>12}{'now':>12}{'change':>10}"]
    for name, now in found.items():
        known = before.get(name)
        told = f"{known:>12,}{now:>12,}{change(known, now):>+10.1%}" if known else f"{'none':>12}{now:>12,}"
        lines.append(f"{name:<14}{told}")
    fallen = [name for name, now in found.items() if name in before and change(before[name], now) < -GROWTH]
    if fallen:
        told = f"{', '.join(fallen)}: less than before. Write the new baseline, or it may grow back"
        lines.append(f"{told}: {HOW_TO_UPDATE}")
    return "\n".join(lines)


def complaints(before, found):
    """What is wrong, a line each, and what to do about it."""
    grown = [name for name, now in found.items() if name in before and change(before[name], now) > GROWTH]
    lines = [
        f"{name} takes {change(before[name], found[name]):.1%} more instructions than its baseline:"
        f" {before[name]:,} before, {found[name]:,} now, and {GROWTH:.0%} is the limit"
        for name in grown
    ]
    lines += [f"{name} has no baseline" for name in found if name not in before]
    lines += [f"{name} has a baseline and is no path any more" for name in before if name not in found]
    if grown:
        lines.append(f"Where they are spent: `callgrind_annotate {profile_of(grown[0]).relative_to(ROOT)}`")
    if lines:
        lines.append(f"If it must be so: {HOW_TO_UPDATE}")
    return lines

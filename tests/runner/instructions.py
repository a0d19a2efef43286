"""Holds the hot paths to the instructions that they took when their baseline was written.

Counts do not depend on how fast or busy the machine is. Each path of tests/bench/instructions is gone N times and
2 N times under valgrind's callgrind; the difference is what N cost, without the start and the end of the program.
Compilers and processors differ in what they make of the same code: the baseline says which ones it was counted with,
and on others there is nothing to hold the counts to.
"""

import json
import platform
import re
import statistics
import subprocess
from pathlib import Path

from provision import bench, cargo, command
from shell import KEPT, ROOT, Failed, Skipped, start, stop

BASELINE = ROOT / "tests" / "bench" / "instructions.json"
# What callgrind found, for callgrind_annotate.
PROFILES = KEPT / "instructions"
# A path may take this part more than its baseline.
GROWTH = 0.05
# A server also does what its clock tells it to: counts of paths that go through one differ by up to 2 % from their median.
BASELINE_COUNTS = 3
HOW_TO_UPDATE = f"`tests/run instructions --update`, and commit {BASELINE.relative_to(ROOT)}"
# No path takes longer under valgrind, however slow the machine.
PATIENCE_S = 600


def check(update=False):
    """Counts, tells, and raises Failed for a path that has grown; or writes the new baseline."""
    if not BASELINE.exists() and not update:
        raise Skipped(f"there is no baseline; {HOW_TO_UPDATE}")
    baseline = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    before = baseline.get("instructions", {})
    counted = [counts() for _ in range(BASELINE_COUNTS if update else 1)]
    medians = {name: round(statistics.median(each[name] for each in counted)) for name in counted[0]}
    found = {"counted_with": counted_with(), "instructions": medians}
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
    found = {}
    for name, times in map(str.split, listed.splitlines()):
        once, twice = (count(valgrind, program, name, n) for n in (int(times), 2 * int(times)))
        found[name] = round((twice - once) / int(times))
    return found


def count(valgrind, program, name, times):
    """The instructions of a program that goes a path so many times, all its threads together."""
    profile = PROFILES / f"{name}.callgrind"
    process = start(
        [valgrind, "--tool=callgrind", f"--callgrind-out-file={profile}", program, name, times],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        told, _ = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise Failed(f"`{name} {times}` did not end under valgrind") from None
    finally:
        stop(process)
    collected = re.search(r"Collected : (\d+)", told)
    if process.returncode or not collected:
        raise Failed(f"`{name} {times}` under valgrind: {told.strip()[-1000:]}")
    return int(collected[1])


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
        profile = (PROFILES / f"{grown[0]}.callgrind").relative_to(ROOT)
        lines.append(f"Where they are spent: `callgrind_annotate {profile}`")
    if lines:
        lines.append(f"If it must be so: {HOW_TO_UPDATE}")
    return lines

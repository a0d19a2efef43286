"""Writes what each step took into target/tests/steps.json, and sums it up: `tests/run --profile`.

- compiling: cargo builds something: clippy, doc, binaries, tests
- installing: apt, pip, npm and MySQL's packages, while they are fetched and unpacked
- computing: processor seconds of everything else
- waiting: seconds of steps in which they neither compiled nor installed, less what they computed

Seconds are those of the steps. Steps run side by side, so they add up to more than the run took.
"""

import json
import os
from dataclasses import dataclass

from provision import CACHE
from shell import KEPT, ROOT

STEPS = KEPT / "steps.json"
# The last run of the whole gate that found nothing, and the last one that found everything.
COLD, WARM = KEPT / "steps-cold.json", KEPT / "steps-warm.json"
BOOKED = ("compiling", "installing")


@dataclass(frozen=True)
class Start:
    """What was there when the run began."""

    has_target: bool
    has_cache: bool

    @classmethod
    def now(cls):
        target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
        built = any((target / profile / "deps").is_dir() for profile in ("debug", "release"))
        return cls(built, not CACHE.is_empty())

    def word(self):
        if self.has_target and self.has_cache:
            return "warm"
        return "partly warm" if self.has_target or self.has_cache else "cold"


def write(run, start, results, seconds):
    """`run` names the set of steps: gate, full, quick, or some."""
    table = {
        "run": run,
        "start": {"is": start.word(), "target": start.has_target, "cache": start.has_cache},
        "cores": len(os.sched_getaffinity(0)),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(sum(result.cpu_seconds for result in results.values()), 1),
        "steps": [row(step, result) for step, result in results.items()],
    }
    KEPT.mkdir(parents=True, exist_ok=True)
    files = [STEPS]
    if run == "gate" and start.word() in ("cold", "warm"):
        files.append(COLD if start.word() == "cold" else WARM)
    for file in files:
        new = file.with_suffix(".new")
        new.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        new.replace(file)
    return table


def row(step, result):
    booked = {kind: result.spent.get(kind, (0, 0)) for kind in BOOKED}
    seconds = {f"{kind}_s": round(taken, 1) for kind, (taken, _) in booked.items()}
    cpu = {f"{kind}_cpu_s": round(taken, 1) for kind, (_, taken) in booked.items()}
    return {
        "name": step.name,
        "set": step.set,
        "lane": step.lane,
        "outcome": result.outcome,
        "began_s": round(result.began_s, 1),
        "seconds": round(result.seconds, 1),
        "cpu_seconds": round(result.cpu_seconds, 1),
        **seconds,
        **cpu,
        # Why there was one.
        "second_try": "\n".join(result.why) if result.second_try else None,
        "skipped_parts": result.skipped_parts,
    }


def sums(table):
    """Kind → seconds of all steps together."""
    steps = table["steps"]
    found = {kind: sum(step[f"{kind}_s"] for step in steps) for kind in BOOKED}
    found["computing"] = sum(computing(step) for step in steps)
    found["waiting"] = sum(waiting(step) for step in steps)
    return found


def computing(step):
    return max(0, step["cpu_seconds"] - sum(step[f"{kind}_cpu_s"] for kind in BOOKED))


def waiting(step):
    return max(0, step["seconds"] - sum(step[f"{kind}_s"] for kind in BOOKED) - computing(step))


def line(table):
    """What went where, in one line."""
    told = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in sums(table).items())
    busy = table["cpu_seconds"] / max(table["seconds"] * table["cores"], 0.1)
    return f"{table['seconds']:.0f} s, {table['start']['is']}, processors {busy:.0%} busy; steps: {told}"


def profile():
    """The text of `tests/run --profile`, of the runs there are."""
    files = {"last run": STEPS, "last cold gate": COLD, "last warm gate": WARM}
    told = [f"{name}: {of_run(json.loads(file.read_text(encoding='utf-8')))}" for name, file in files.items() if file.exists()]
    return "\n".join(told) or f"no run has written {STEPS.relative_to(ROOT)} yet"


def of_run(table):
    lines = [line(table), f"{'':<14}{'began':>8}{'seconds':>9}{'CPU':>8}{'compile':>9}{'install':>9}{'compute':>9}{'wait':>8}"]
    for step in sorted(table["steps"], key=lambda step: step["began_s"]):
        figures = (step["began_s"], step["seconds"], step["cpu_seconds"], *(step[f"{kind}_s"] for kind in BOOKED))
        widths = zip((*figures, computing(step), waiting(step)), (8, 9, 8, 9, 9, 9, 8), strict=True)
        tries = "  second try" * bool(step["second_try"])
        lines.append(f"{step['name']:<14}" + "".join(f"{figure:>{width}.1f}" for figure, width in widths) + tries)
    return "\n".join([*lines, ""])

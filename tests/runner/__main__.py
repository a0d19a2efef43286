"""Runs the steps of a set, and says what became of each. Called by tests/run."""

import argparse
import sys
import time

import crates
import shell
import timings
from cache import InUse
from lanes import Lanes, say
from provision import CACHE
from steps import STEPS

NAMES = [step.name for step in STEPS]


def arguments():
    parser = argparse.ArgumentParser(prog="tests/run", description="Checks everything there is to check.")
    parser.add_argument("one", nargs="?", choices=["full", *NAMES], metavar="full | STEP", help="the full set, or one step")
    parser.add_argument("--only", nargs="+", metavar="STEP", choices=NAMES, help="these steps, as the gate runs them")
    parser.add_argument("--quick", action="store_true", help="only what needs nothing but cargo and is soon done")
    parser.add_argument("--again", action="store_true", help="a second try for a step with live servers that failed")
    parser.add_argument("--list", action="store_true", help="print lane and set of each step, and end")
    parser.add_argument("--profile", action="store_true", help="print where the last runs spent their time, and end")
    parser.add_argument("--clean", action="store_true", help="empty the cache of packages and tools, and end")
    parser.add_argument("--minutes", type=float, help="how long fleet is under load, and how long soak takes")
    parser.add_argument("--cycles", type=int, help="connections that footprint opens")
    parser.add_argument("--update", action="store_true", help="instructions writes the new baseline")
    options, options.arguments = parser.parse_known_args()
    if options.arguments and options.one != "chaos":
        parser.error(f"unknown: {' '.join(options.arguments)}")
    # Steps that are scaled run in their full length.
    options.full = options.one is not None
    return options


def chosen(options):
    """The name of the set that runs, and its steps."""
    if options.one == "full":
        return "full", [step for step in STEPS if step.set != "named"]
    if options.one or options.only:
        names = options.only or [options.one]
        return "some", [step for step in STEPS if step.name in names]
    if options.quick:
        return "quick", [step for step in STEPS if step.quick]
    return "gate", [step for step in STEPS if step.set == "gate"]


def listing():
    lines = [f"{'step':<14}{'lane':<9}{'set':<14}"]
    for step in STEPS:
        sets = f"{step.set}, scaled" if step.is_scaled else step.set
        lines.append(f"{step.name:<14}{step.lane:<9}{sets:<14}{step.what}")
    return "\n".join(lines)


def main():
    options = arguments()
    if options.list or options.profile:
        say(listing() if options.list else timings.profile())
        return 0
    if options.clean:
        return clean()
    shell.end_on_signals()
    CACHE.use()
    name, steps = chosen(options)
    start, began = timings.Start.now(), time.monotonic()
    run = Lanes(steps, options)
    try:
        crates.restore()
        run.run()
        crates.keep(run.passed())
    except KeyboardInterrupt:
        say("\ninterrupted")
        return 130
    finally:
        table = timings.write(name, start, run.results, time.monotonic() - began)
    return summary({step.name: run.results[step] for step in steps}, table)


def clean():
    try:
        CACHE.clean()
    except InUse as reason:
        say(str(reason))
        return 1
    return 0


def summary(results, table):
    """Prints what became of each step; returns the exit code."""
    for name, result in results.items():
        if result.why:
            # Once more: a log may be cut off, and its end is what is read.
            say(f"\n=== why {name} failed" + " at first" * (result.outcome != "failed"))
            say("\n".join(result.why))
    say("\n=== summary")
    for name, result in results.items():
        word = "FAILED" if result.outcome == "failed" else result.outcome
        parts = [f"{result.skipped_parts} skipped"] * bool(result.skipped_parts)
        tries = [f"{result.in_words()}: {result.why[0]}" for _ in range(result.second_try)]
        say(f"{word:<8} {result.seconds:7.1f} s  {name}" + f" ({', '.join(parts + tries)})" * bool(parts + tries))
    passed = [name for name, result in results.items() if result.outcome == "passed"]
    failed = [name for name, result in results.items() if result.outcome == "failed"]
    second = [name for name in passed if results[name].second_try]
    skipped = sum((result.outcome == "skipped") + result.skipped_parts for result in results.values())
    say(f"{timings.STEPS.relative_to(shell.ROOT)}: {timings.line(table)}")
    if failed:
        say(f"FAILED: {', '.join(failed)}")
    count = f"{len(passed)} passed, {len(failed)} failed, {skipped} skipped"
    say(count + f"; {len(second)} passed at the second try: {', '.join(second)}" * bool(second))
    return 1 if failed or not passed else 0


sys.exit(main())

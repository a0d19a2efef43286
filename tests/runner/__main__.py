"""Runs the steps, one after the other, and tells what became of each. Called by tests/run."""

import argparse
import signal
import sys
import time

import shell
from shell import Failed, Skipped
from steps import EXTRA, STEPS


def arguments():
    parser = argparse.ArgumentParser(prog="tests/run", description="Checks everything there is to check.")
    parser.add_argument("extra", nargs="?", choices=[step.name for step in EXTRA], help="a measurement of its own")
    parser.add_argument("--only", nargs="+", metavar="STEP", choices=[step.name for step in STEPS], help="these steps")
    parser.add_argument("--quick", action="store_true", help="only what needs nothing but cargo and is soon done")
    parser.add_argument("--long", action="store_true", help="test writes 10,000 messages on every kind of database, not on one")
    parser.add_argument("--list", action="store_true", help="name the steps and end")
    parser.add_argument("--minutes", type=float, help="how long fleet is under load, and how long soak takes")
    parser.add_argument("--cycles", type=int, help="connections that footprint opens")
    parser.add_argument("--update", action="store_true", help="instructions writes the new baseline")
    return parser.parse_args()


def chosen(options):
    if options.extra:
        return [step for step in EXTRA if step.name == options.extra]
    if options.only:
        return [step for step in STEPS if step.name in options.only]
    return [step for step in STEPS if step.quick or not options.quick]


def say(text):
    print(text, flush=True)


def run(step, options):
    """The outcome of one step in a word, how many parts of it were skipped, how long it took, and why it failed."""
    say(f"\n=== {step.name}: {step.what}")
    began, parts, why = time.monotonic(), 0, ()
    try:
        parts = step.run(options) or 0
        outcome = "passed"
    except Skipped as reason:
        say(f"skipped: {reason}")
        outcome = "skipped"
    except Failed as reason:
        say(f"FAILED: {reason}")
        outcome, why = "failed", (reason, *reason.details)
    seconds = time.monotonic() - began
    say(f"--- {step.name} {outcome} after {seconds:.1f} s" + (f", {parts} parts of it skipped" if parts else ""))
    return outcome, parts, seconds, why


def main():
    options = arguments()
    if options.list:
        for step in (*STEPS, *EXTRA):
            say(f"{step.name:<14}{step.what}")
        return 0
    # So that servers and browsers are stopped however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    results = {}
    try:
        for step in chosen(options):
            results[step.name] = run(step, options)
    except KeyboardInterrupt:
        say("\ninterrupted")
        return 130
    finally:
        shell.stop_everything()
    return summary(results)


def summary(results):
    """Tells what became of each step; returns the exit code."""
    for name, (_, _, _, why) in results.items():
        if why:
            # Once more: a log may be cut off, and its end is what is read.
            say(f"\n=== why {name} failed")
            say("\n".join(str(line) for line in why))
    say("\n=== summary")
    for name, (outcome, parts, seconds, _) in results.items():
        say(f"{outcome if outcome != 'failed' else 'FAILED':<8} {seconds:7.1f} s  {name}" + f" ({parts} skipped)" * bool(parts))
    outcomes = [outcome for outcome, *_ in results.values()]
    passed, failed = outcomes.count("passed"), [name for name, result in results.items() if result[0] == "failed"]
    skipped = outcomes.count("skipped") + sum(parts for _, parts, *_ in results.values())
    if failed:
        say(f"FAILED: {', '.join(failed)}")
    say(f"{passed} passed, {len(failed)} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


sys.exit(main())

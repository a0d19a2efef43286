"""Runs the steps, one after the other, and tells what became of each. Called by tests/run."""

import argparse
import signal
import sys
import time
from dataclasses import dataclass

import shell
from shell import Failed, Skipped
from steps import EXTRA, STEPS, build_ahead


def arguments():
    parser = argparse.ArgumentParser(prog="tests/run", description="Checks everything there is to check.")
    every = dict.fromkeys(step.name for step in (*EXTRA, *STEPS))
    parser.add_argument("one", nargs="?", choices=every, metavar="STEP", help="a measurement of its own, or one step")
    parser.add_argument("--only", nargs="+", metavar="STEP", choices=[step.name for step in STEPS], help="these steps")
    parser.add_argument("--quick", action="store_true", help="only what needs nothing but cargo and is soon done")
    parser.add_argument("--long", action="store_true", help="test writes 10,000 messages on every database, not on one")
    parser.add_argument("--again", action="store_true", help="a second try for a step with live servers that failed")
    parser.add_argument("--list", action="store_true", help="name the steps and end")
    parser.add_argument("--minutes", type=float, help="how long fleet is under load, and how long soak takes")
    parser.add_argument("--cycles", type=int, help="connections that footprint opens")
    parser.add_argument("--update", action="store_true", help="instructions writes the new baseline")
    return parser.parse_args()


def chosen(options):
    if options.one:
        return [next(step for step in (*EXTRA, *STEPS) if step.name == options.one)]
    if options.only:
        return [step for step in STEPS if step.name in options.only]
    return [step for step in STEPS if step.quick or not options.quick]


def say(text):
    print(text, flush=True)


@dataclass
class Result:
    outcome: str
    # How many parts of it were skipped.
    parts: int = 0
    seconds: float = 0.0
    # Why it failed, or failed at first.
    why: tuple = ()
    second_try: bool = False


def run(step, options):
    say(f"\n=== {step.name}: {step.what}")
    began = time.monotonic()
    result, failure = attempt(step.run, options)
    if failure and options.again and step.live:
        say(f"=== {step.name}: a second try")
        again = (lambda options: step.again(options, failure)) if step.again else step.run
        second, _ = attempt(again, options)
        outcome = "passed" if second.outcome == "passed" else "failed"
        result = Result(outcome, second.parts, why=result.why + second.why, second_try=True)
    result.seconds = time.monotonic() - began
    skipped = f", {result.parts} parts of it skipped" * bool(result.parts)
    say(f"--- {step.name} {in_words(result)} after {result.seconds:.1f} s{skipped}")
    return result


def attempt(what, options):
    """The result, and the failure if it is one."""
    try:
        return Result("passed", parts=what(options) or 0), None
    except Skipped as reason:
        say(f"skipped: {reason}")
        return Result("skipped"), None
    except Failed as reason:
        say(f"FAILED: {reason}")
        return Result("failed", why=(reason, *reason.details)), reason


def in_words(result):
    return result.outcome + " at the second try" * result.second_try


def main():
    options = arguments()
    if options.list:
        for step in (*STEPS, *EXTRA):
            say(f"{step.name:<14}{step.what}")
        return 0
    # So that servers and browsers are stopped however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    results, steps = {}, chosen(options)
    try:
        if {"clippy", "build"} <= {step.name for step in steps}:
            build_ahead()
        for step in steps:
            results[step.name] = run(step, options)
    except KeyboardInterrupt:
        say("\ninterrupted")
        return 130
    finally:
        shell.stop_everything()
    return summary(results)


def summary(results):
    """Tells what became of each step; returns the exit code."""
    for name, result in results.items():
        if result.why:
            # Once more: a log may be cut off, and its end is what is read.
            say(f"\n=== why {name} failed" + " at first" * (result.outcome != "failed"))
            say("\n".join(str(line) for line in result.why))
    say("\n=== summary")
    for name, result in results.items():
        word = "FAILED" if result.outcome == "failed" else result.outcome
        notes = [f"{result.parts} skipped"] * bool(result.parts) + [f"{in_words(result)}: why is above"] * result.second_try
        say(f"{word:<8} {result.seconds:7.1f} s  {name}" + f" ({', '.join(notes)})" * bool(notes))
    passed = [name for name, result in results.items() if result.outcome == "passed"]
    failed = [name for name, result in results.items() if result.outcome == "failed"]
    second = [name for name in passed if results[name].second_try]
    skipped = sum((result.outcome == "skipped") + result.parts for result in results.values())
    if failed:
        say(f"FAILED: {', '.join(failed)}")
    count = f"{len(passed)} passed, {len(failed)} failed, {skipped} skipped"
    say(count + f"; {len(second)} passed at the second try: {', '.join(second)}" * bool(second))
    return 1 if failed or not passed else 0


sys.exit(main())

"""Runs one step, in a process of its own, and writes its result: `python3 tests/runner/attempt.py ORDER`.

The process makes it exact what a step prints and what processor time it takes, whatever runs beside it. Called by lanes.py.
"""

import argparse
import importlib
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import shell
from shell import Failed, Skipped


@dataclass
class Result:
    outcome: str
    # How many parts of it were skipped.
    skipped_parts: int = 0
    # Why it failed, or failed at first.
    why: list = field(default_factory=list)
    second_try: bool = False
    # Kind → seconds and processor seconds, see shell.spending.
    spent: dict = field(default_factory=dict)
    # Filled in by lanes.py: when it began, counted from the beginning of the run.
    began_s: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def in_words(self):
        return self.outcome + " at the second try" * self.second_try


@dataclass(frozen=True)
class Order:
    """What this process is asked for; it comes and goes as JSON."""

    step: str
    # The module that has it in its STEPS.
    module: str
    # The runner's own, as argparse made them.
    options: dict
    # Steps that have passed in this run.
    passed: list
    # The file that gets the result.
    result: str

    def text(self):
        return json.dumps(asdict(self))


def obey(order):
    steps = importlib.import_module(order.module).STEPS
    step = next(step for step in steps if step.name == order.step)
    options = argparse.Namespace(**order.options, passed=order.passed)
    if step.lane == "compute" and not step.is_urgent:
        shell.stand_back()
    result, failure = attempt(step.run, options)
    if failure and options.again and step.live:
        say(f"=== {step.name}: a second try")
        again = (lambda options: step.again(options, failure)) if step.again else step.run
        second, _ = attempt(again, options)
        outcome = "passed" if second.outcome == "passed" else "failed"
        result = Result(outcome, second.skipped_parts, result.why + second.why, second_try=True)
    result.spent = shell.spent()
    return result


def attempt(what, options):
    """The result, and the failure if it is one."""
    try:
        return Result("passed", skipped_parts=what(options) or 0), None
    except Skipped as reason:
        say(f"skipped: {reason}")
        return Result("skipped"), None
    except Failed as reason:
        say(f"FAILED: {reason}")
        return Result("failed", why=[str(reason), *reason.details]), reason


def say(text):
    print(text, flush=True)


def main():
    shell.end_on_signals()
    order = Order(**json.loads(sys.argv[1]))
    try:
        result = obey(order)
    finally:
        shell.stop_everything()
    Path(order.result).write_text(json.dumps(asdict(result)), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Runs steps side by side in lanes, and prints each as one block when it ends.

A step starts as soon as the steps that it needs have ended, its lane has a place, and no step that runs uses the same
of what only one can use. Of those that may start, the first in the order of the list does. A step that wants the
machine alone starts when no other one is left that could run before it.
"""

import json
import os
import sys
import time
from pathlib import Path

import shell
from attempt import Order, Result
from services import tied
from shell import KEPT

# How many steps run side by side in each lane. Those that compute stand back for those that wait.
WIDTHS = {"compute": 2, "wait": 3}
LOGS = KEPT / "logs"
# Longest that a step may take to stop all that it started.
STOP_S = 60


class Lanes:
    def __init__(self, steps, options, module="steps"):
        """`module` is where each process finds its step."""
        self.pending, self.options, self.module = list(steps), options, module
        # One step alone is watched by a person.
        self.is_shown_live = len(self.pending) == 1
        # Process id → what runs there.
        self.running = {}
        # Step → result, in the order of their ends.
        self.results = {}
        self.began = time.monotonic()

    def run(self):
        """Runs every step. However it ends, nothing runs any more then."""
        LOGS.mkdir(parents=True, exist_ok=True)
        try:
            while self.pending or self.running:
                while step := self.next():
                    self.pending.remove(step)
                    self.start(step)
                if not self.running and self.pending:
                    raise RuntimeError(f"no step may start: {', '.join(step.name for step in self.pending)}")
                if self.running:
                    self.end_of_one()
        finally:
            self.stop()

    def next(self):
        """The step to start now, or None if one must end first."""
        running = [run.step for run in self.running.values()]
        return next((step for step in self.pending if self.may_start(step, running)), None)

    def may_start(self, step, running):
        waits = {other.name for other in (*self.pending, *running)} & set(step.needs)
        if waits or any(other.alone for other in running):
            return False
        if step.alone:
            return not running and all(other.alone for other in self.pending)
        beside = [other for other in running if other.lane == step.lane]
        return len(beside) < WIDTHS[step.lane] and not any(set(step.uses) & set(other.uses) for other in running)

    def start(self, step):
        if failed := [name for name in step.needs if self.outcome(name) == "failed"]:
            text = f"it needs {', '.join(failed)}, which failed"
            self.end(step, Result("failed", why=[text], began_s=time.monotonic() - self.began), f"FAILED: {text}\n")
            return
        run = Run(step, self)
        self.running[run.process.pid] = run
        say(f"\n=== {step.name}: {step.what}" if self.is_shown_live else f"[{clock(run.began_s)}] {step.name} begins")

    def outcome(self, name):
        return next((result.outcome for step, result in self.results.items() if step.name == name), None)

    def passed(self):
        return [step.name for step, result in self.results.items() if result.outcome == "passed"]

    def end_of_one(self):
        """Waits for a step to end, whichever."""
        pid, status, used = os.wait4(-1, 0)
        if run := self.running.pop(pid, None):
            self.end(run.step, run.result(status, used), run.output())

    def end(self, step, result, output=""):
        self.results[step] = result
        skipped = f", {result.skipped_parts} parts of it skipped" * bool(result.skipped_parts)
        if not self.is_shown_live:
            say(f"\n=== {step.name}: {step.what}\n{output}".rstrip())
        say(f"--- {step.name} {result.in_words()} after {result.seconds:.1f} s{skipped}\n")

    def stop(self):
        for run in self.running.values():
            run.process.terminate()
        for run in self.running.values():
            run.stop()
            if not self.is_shown_live:
                say(f"\n=== {run.step.name}: {run.step.what}\n{run.output()}".rstrip())
            say(f"--- {run.step.name} was stopped")
        self.running.clear()


class Run:
    """A step under way."""

    def __init__(self, step, lanes):
        self.step = step
        self.log, self.file = LOGS / f"{step.name}.log", LOGS / f"{step.name}.json"
        self.file.unlink(missing_ok=True)
        self.began_s = time.monotonic() - lanes.began
        order = Order(step.name, lanes.module, vars(lanes.options), lanes.passed(), str(self.file))
        command = [sys.executable, Path(__file__).with_name("attempt.py"), order.text()]
        self.began = time.monotonic()
        if lanes.is_shown_live:
            self.log = None
            self.process = shell.start(tied(command))
        else:
            with self.log.open("wb") as log:
                self.process = shell.start(tied(command), stdout=log, stderr=log)

    def result(self, status, used):
        """What the step wrote, and what it took."""
        self.process.returncode = os.waitstatus_to_exitcode(status)
        shell.forget(self.process)
        try:
            result = Result(**json.loads(self.file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            end = f"its process ended with {self.process.returncode}"
            result = Result("failed", why=[end, *self.output().splitlines()[-20:]])
        self.file.unlink(missing_ok=True)
        result.began_s, result.seconds = self.began_s, time.monotonic() - self.began
        result.cpu_seconds = used.ru_utime + used.ru_stime
        return result

    def output(self):
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log else ""

    def stop(self):
        shell.stop(self.process, STOP_S)


def say(text):
    print(text, flush=True)


def clock(seconds):
    return f"{int(seconds) // 60:3}:{int(seconds) % 60:02}"

"""python3 -m unittest discover --start-directory tests/runner"""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import unittest
from pathlib import Path

import samples
import steps

HERE = Path(__file__).resolve().parent


def ran(*names, again=False):
    """The lanes after they ran these samples, and what they printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        lanes = samples.lanes(names, again)
        lanes.run()
    return {step.name: result for step, result in lanes.results.items()}, printed.getvalue()


def overlap(one, other):
    return one.began_s < other.began_s + other.seconds and other.began_s < one.began_s + one.seconds


class LanesTest(unittest.TestCase):
    def test_steps_of_two_lanes_run_side_by_side_and_each_has_its_own_processor_time(self):
        results, _ = ran("busy", "idle")
        self.assertTrue(overlap(results["busy"], results["idle"]))
        self.assertGreater(results["busy"].cpu_seconds, 1)
        self.assertLess(results["idle"].cpu_seconds, 0.9)

    def test_what_steps_print_side_by_side_is_one_block_for_each(self):
        _, printed = ran("talk", "talk_too")
        block = "".join(f"line {number}\ncommand {number}\n" for number in range(5))
        for name in ("talk", "talk_too"):
            self.assertIn(f"\n=== {name}: prints\n{block}--- {name} passed after ", printed)
            self.assertRegex(printed, rf"(?m)^\[ *\d+:\d\d\] {name} begins$")

    def test_a_step_whose_need_failed_fails_too(self):
        results, _ = ran("fail", "after")
        self.assertEqual([results[name].outcome for name in ("fail", "after")], ["failed", "failed"])
        self.assertEqual(results["after"].why, ["it needs fail, which failed"])
        self.assertIn("error: it is broken", results["fail"].why)

    def test_a_need_that_does_not_run_is_not_waited_for(self):
        results, _ = ran("after", "idle")
        self.assertEqual(results["after"].outcome, "passed")

    def test_steps_that_use_the_same_run_one_after_the_other(self):
        results, _ = ran("one", "other")
        self.assertFalse(overlap(results["one"], results["other"]))

    def test_nothing_runs_beside_a_step_that_wants_the_machine_alone(self):
        results, _ = ran("alone", "idle", "busy")
        self.assertFalse(any(overlap(results["alone"], results[name]) for name in ("idle", "busy")))

    def test_a_second_try_has_its_reason(self):
        results, printed = ran("flaky", "skip", again=True)
        self.assertEqual(results["flaky"].in_words(), "passed at the second try")
        self.assertEqual((results["flaky"].why, results["flaky"].skipped_parts), (["not yet"], 2))
        self.assertIn("again after: not yet", printed)
        self.assertEqual(results["skip"].outcome, "skipped")

    def test_a_second_failure_is_a_failure(self):
        results, _ = ran("fail", "skip", again=True)
        self.assertEqual(results["fail"].in_words(), "failed at the second try")

    def test_a_signal_stops_the_steps_and_all_that_they_started(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                self.is_stopped_by(number)

    def is_stopped_by(self, number):
        command = [sys.executable, "samples.py", "for_ever", "idle"]
        process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        # When it ends, the other one has long begun.
        while not process.stdout.readline().startswith("--- idle passed"):
            self.assertIsNone(process.poll())
        process.send_signal(number)
        rest = process.communicate(timeout=300)[0]
        self.assertIn("--- for_ever was stopped", rest)
        server = int(re.search(r"server (\d+)", rest)[1])
        self.assertRaises(ProcessLookupError, os.kill, server, 0)


class StepsTest(unittest.TestCase):
    def test_names_are_unique(self):
        names = [step.name for step in steps.STEPS]
        self.assertEqual(len(names), len(set(names)))

    def test_needs_come_before_who_needs_them(self):
        before = set()
        for step in steps.STEPS:
            self.assertLessEqual(set(step.needs), before, step.name)
            before.add(step.name)


if __name__ == "__main__":
    unittest.main()

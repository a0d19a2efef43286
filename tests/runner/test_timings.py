"""python3 -m unittest discover --start-directory tests/runner"""

import json
import tempfile
import unittest
from pathlib import Path
from unittest.mock import patch

import timings
from attempt import Result
from samples import STEPS
from timings import Start

BUSY, IDLE = STEPS[:2]


def written(directory, run="gate", start=Start(False, False)):
    """The table of a run, the files it is in, and its profile: one step compiled and computed, one installed and waited."""
    spent = {"compiling": (6.0, 10.0)}
    results = {
        BUSY: Result("passed", seconds=9.0, cpu_seconds=12.0, spent=spent),
        IDLE: Result("passed", 0, ["not yet"], True, {"installing": (5.0, 1.0)}, seconds=20.0, cpu_seconds=2.0),
    }
    files = {name: directory / f"{name}.json" for name in ("STEPS", "COLD", "WARM")}
    with patch.multiple(timings, **files):
        timings.write(run, start, results, 21.0)
        table, told = json.loads(files["STEPS"].read_text()), timings.profile()
    return table, {name for name, file in files.items() if file.exists()}, told


class TimingsTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def test_each_second_of_a_step_is_of_one_kind(self):
        table, _, _ = written(self.directory)
        # The first computed 2 s and waited 1 s beside its compilers, the second computed 1 s.
        self.assertEqual(timings.sums(table), {"compiling": 6.0, "installing": 5.0, "computing": 3.0, "waiting": 15.0})

    def test_the_reason_of_a_second_try_is_written(self):
        table, _, told = written(self.directory)
        self.assertEqual([step["second_try"] for step in table["steps"]], [None, "not yet"])
        self.assertRegex(told, r"(?m)^idle .* second try$")

    def test_the_last_cold_and_the_last_warm_gate_are_kept(self):
        for start, kept in ((Start(False, False), "COLD"), (Start(True, True), "WARM")):
            with tempfile.TemporaryDirectory() as directory:
                self.assertEqual(written(Path(directory), start=start)[1], {"STEPS", kept})

    def test_neither_some_steps_nor_a_partly_warm_gate_count_as_one(self):
        self.assertEqual(written(self.directory, run="some")[1], {"STEPS"})
        self.assertEqual(written(self.directory, start=Start(True, False))[1], {"STEPS"})


if __name__ == "__main__":
    unittest.main()

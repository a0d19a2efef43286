"""Plans are the same for the same seed, reach every kind of fault, and never fail one thing twice at once."""

import re
import sys
import unittest
from fnmatch import fnmatch
from pathlib import Path

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
sys.path += [str(HERE.parent), str(HERE.parents[1] / "runner"), str(ROOT / "compat" / "kit")]

import faults
import plan


class Plans(unittest.TestCase):
    def test_a_seed_decides_everything(self):
        self.assertEqual(plan.make(11, 40).text(), plan.make(11, 40).text())
        self.assertNotEqual(plan.make(11, 40).text(), plan.make(12, 40).text())

    def test_the_options_of_a_plan_make_it_again(self):
        for seed in range(1, 50):
            made = plan.make(seed, 40)
            again = plan.make(seed, made.seconds, made.backend, made.database, made.redis, made.django)
            self.assertEqual(made.text(), again.text())

    def test_an_option_changes_nothing_else_of_the_setting(self):
        free, bound = plan.make(11, 40), plan.make(11, 40, backend="redis")
        self.assertEqual((free.database, free.redis, free.django), (bound.database, bound.redis, bound.django))

    def test_two_hundred_seeds_reach_every_kind_layer_database_and_redis(self):
        plans = [plan.make(seed, 40) for seed in range(1, 201)]
        self.assertEqual({fault.kind for one in plans for fault in one.faults}, set(plan.KINDS))
        settings = {(one.backend, one.database, one.redis) for one in plans}
        self.assertEqual(len(settings), len(plan.BACKENDS) * len(plan.DATABASES) * len(plan.REDISES))

    def test_every_kind_can_be_made(self):
        self.assertEqual(set(faults.KINDS), set(plan.KINDS))

    def test_nothing_fails_twice_at_once_but_different_things_do(self):
        together = 0
        for seed in range(1, 50):
            planned = plan.make(seed, 40).faults
            for before, after in zip(planned, planned[1:], strict=False):
                if after.at_s < before.at_s + before.lasts_s:
                    together += 1
                    self.assertNotEqual(
                        (before.kind.partition(".")[0], before.target), (after.kind.partition(".")[0], after.target)
                    )
        self.assertGreater(together, 20)


class Promises(unittest.TestCase):
    """The table of src/server/README.md, whose last column names kinds of faults and files of tests."""

    def setUp(self):
        section = (ROOT / "src" / "server" / "README.md").read_text(encoding="utf-8").partition("## Reliability")[2].partition("\n## ")[0]
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
        self.held_by = [re.findall("`([^`]+)`", row[-1]) for row in rows[1:]]

    def test_each_row_is_held_by_kinds_or_tests_that_exist(self):
        for names in self.held_by:
            self.assertTrue(names)
            for name in names:
                if "." in name:
                    self.assertTrue([kind for kind in plan.KINDS if fnmatch(kind, name.partition("@")[0])], name)
                else:
                    self.assertTrue((ROOT / "tests" / "it" / f"{name.replace('::', '/')}.rs").exists(), name)

    def test_every_kind_is_in_a_row(self):
        patterns = [name.partition("@")[0] for names in self.held_by for name in names]
        missing = [kind for kind in plan.KINDS if not any(fnmatch(kind, pattern) for pattern in patterns)]
        self.assertEqual(missing, [])


if __name__ == "__main__":
    unittest.main()

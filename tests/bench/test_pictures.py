"""The pictures and the words of measurements."""

import re
import unittest
import xml.dom.minidom

from drawing import Chart, Curve, over_time, round_steps, time_steps
from verdicts import ALLOWED, MEMORY, plot, verdicts


def rows(minutes, memory):
    """A soak whose memory is what `memory` says for each second, and in which nothing else changes."""
    seconds = range(0, 60 * minutes + 1, 10)
    still = {name: 30 for name in ALLOWED}
    return [{"second": second, **still, MEMORY: memory(second)} for second in seconds]


def verdict(made):
    return next(one for one in verdicts(made) if one.name == MEMORY)


class Words(unittest.TestCase):
    def test_only_what_does_not_change_is_called_flat(self):
        self.assertEqual(verdict(rows(30, lambda second: 25)).words, "flat")
        creeping = verdict(rows(30, lambda second: 24 + 2 * second / 1800))
        self.assertEqual(creeping.words, "+0.506 between these quarters, +4 an hour")
        self.assertFalse(creeping.has_grown)
        self.assertIn("-4 an hour", verdict(rows(30, lambda second: 26 - 2 * second / 1800)).words)

    def test_more_than_is_allowed_is_growth_once_memory_has_settled(self):
        leak = lambda second: 24 + 10 * second / 1800  # noqa: E731
        self.assertTrue(verdict(rows(30, leak)).has_grown)
        self.assertFalse(verdict(rows(5, lambda second: leak(6 * second))).has_grown)

    def test_the_picture_has_times_units_numbers_and_a_line_to_compare_with(self):
        made = rows(30, lambda second: 24 + 2 * second / 1800)
        picture = plot(made, list(verdicts(made)))
        for words in ("memory in RAM, MiB", "30 min", "third quarter", "an hour", "tasks: flat"):
            self.assertIn(words, picture)
        self.assertEqual(picture.count("stroke-dasharray"), len(ALLOWED))


class Drawing(unittest.TestCase):
    def test_axes_have_round_numbers_that_reach_the_top(self):
        for most, steps in ((1, [0, 0.5, 1]), (36, [0, 10, 20, 30, 40]), (100, [0, 50, 100]), (25.1, [0, 10, 20, 30])):
            self.assertEqual(round_steps(most), steps)
        for most in (0.003, 7, 199, 12_345, 1e9):
            self.assertGreaterEqual(round_steps(most)[-1], most)
            self.assertLessEqual(len(round_steps(most)), 6)

    def test_times_are_few_and_have_a_unit(self):
        self.assertEqual(time_steps(40)[-1], (40, "40 s"))
        self.assertEqual(time_steps(1800)[:3], [(0, "0"), (300, "5 min"), (600, "10 min")])
        for seconds in (1, 59, 61, 600, 5000, 100_000):
            self.assertIn(len(time_steps(seconds)), range(2, 11), seconds)

    def test_a_chart_is_a_picture_within_its_bounds(self):
        sockets = Curve("Django & <b>", [(0, 200), (30, 100), (60, 0)], steps=True)
        other = Curve("Chatferry", [(0, 0), (30, 100), (60, 0)])
        picture = over_time([Chart("sockets", [sockets, other])], marks=[(30, "50 %")])
        root = xml.dom.minidom.parseString(picture).documentElement
        width, height = (int(root.getAttribute(name)) for name in ("width", "height"))
        for points in re.findall(r'points="([^"]*)"', picture):
            for x, y in (map(float, point.split(",")) for point in points.split()):
                self.assertTrue(0 <= x <= width and 0 <= y <= height)
        names = re.findall(r'y="([\d.]+)"[^>]*font-weight="bold">(?:Chatferry|Django &amp; &lt;b&gt;)<', picture)
        self.assertEqual(len(names), 2)
        self.assertGreaterEqual(abs(float(names[0]) - float(names[1])), 13, "names do not cover each other")
        # 200 holds until it is 100.
        self.assertEqual(len(re.search(r'points="([^"]*)"', picture)[1].split()), 5)


if __name__ == "__main__":
    unittest.main()

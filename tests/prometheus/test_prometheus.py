"""The metrics of servers in use, as a real Prometheus takes them, and every question that dashboards and alerts ask."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from load import Load, Servers
from watch import GRAFANA, SERIES, Prometheus, alerts, annotations, boards, in_rows, panels, read, until


def tool(name):
    found = shutil.which(name)
    if not found:
        raise unittest.SkipTest(f"{name} is not installed")
    return found


class Watched(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for name in ("prometheus", "promtool", "redis-server"):
            tool(name)
        stack = cls.enterClassContext(contextlib.ExitStack())
        cls.servers = Servers(stack, Path(os.environ["CHATFERRY_BINARY"]).resolve())
        cls.load = cls.enterClassContext(Load(cls.servers))
        program = tool("prometheus")
        cls.prometheus = Prometheus(stack, program, cls.servers.directory, cls.servers.targets())

    def tearDown(self):
        if self.load.failure:
            raise self.load.failure

    def known(self, name, expression):
        unknown = set(SERIES.findall(expression)) - self.prometheus.series()
        self.assertEqual(unknown, set(), f"{name} asks for series that nobody has")

    def test_every_target_is_scraped(self):
        wanted = len(self.servers.targets())
        until("all targets", lambda: self.prometheus.values('up{job="chatferry"} == 1') == [1] * wanted)

    def test_promtool_has_nothing_to_say_of_the_text(self):
        for target in self.servers.targets().values():
            with urllib.request.urlopen(f"http://{target}/metrics", timeout=60) as answer:
                text = answer.read()
            done = subprocess.run([tool("promtool"), "check", "metrics"], input=text, capture_output=True, check=False)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""), target)

    def test_every_panel_has_an_answer(self):
        asked = [(panel, expr) for board in boards() for panel in panels(board) for expr, _ in panel.targets]
        self.assertGreater(len(asked), 50)
        waiting = list(asked)

        def all_were_answered():
            waiting[:] = [(panel, expr) for panel, expr in waiting if not self.prometheus.values(expr)]
            return not waiting

        told = lambda: "\n".join(f"{panel.board}, {panel.title}: {expr}" for panel, expr in waiting)
        until("answers", all_were_answered, told)
        for panel, expr in asked:
            self.known(f"{panel.board}: {panel.title}", expr)
        print(f"{len(asked)} questions of {len(boards())} dashboards, all answered", file=sys.stderr)

    def test_marks_of_starts_reloads_and_drains_ask_for_what_is_there(self):
        server = self.servers.guarded
        for board in boards():
            marks = annotations(board)
            self.assertLessEqual({"Restarts", "Reloads", "Drains"}, set(marks), board)
            for name, expression in marks.items():
                self.known(f"{board}: {name}", expression)
        seen = lambda name: self.prometheus.values(annotations("overview.json")[name])  # noqa: E731
        until("the starts", lambda: len(seen("Restarts")) == len(self.servers.targets()))
        self.assertEqual((seen("Reloads"), seen("Drains")), ([], []))
        server.process.send_signal(signal.SIGHUP)
        until("a reload", lambda: len(seen("Reloads")) == 1)
        # Milliseconds, as Grafana wants them.
        self.assertLess(abs(seen("Reloads")[0] / 1000 - time.time()), 600)

    def test_every_alert_asks_for_what_is_there(self):
        def loaded():
            groups = self.prometheus.data("/api/v1/rules")["groups"]
            return [rule for group in groups for rule in group["rules"] if rule["health"] != "unknown"]

        until("the alerts", lambda: len(loaded()) == len(alerts()))
        self.assertEqual([rule["name"] for rule in loaded() if rule["health"] != "ok"], [])
        asked = {series for expression in alerts().values() for series in SERIES.findall(expression)}
        until("series", lambda: asked <= self.prometheus.series(), lambda: str(asked - self.prometheus.series()))
        until("an alert", lambda: self.prometheus.values('ALERTS{alertname="ChatferryDjangoDiffers"}') != [])


class Boards(unittest.TestCase):
    """The dashboards as text."""

    def test_the_first_row_says_in_colours_whether_it_is_well(self):
        for board in boards():
            shown = panels(board)
            first = [panel for panel in shown if panel.row == "Is it well?"]
            self.assertEqual(shown[: len(first)], first, board)
            self.assertGreaterEqual(len(first), 6, board)
            for panel in first:
                what = f"{board}: {panel.title}"
                self.assertEqual(panel.kind, "stat", what)
                bounds, colours = zip(*panel.thresholds, strict=True)
                self.assertIsNone(bounds[0], what)
                self.assertEqual(list(bounds[1:]), sorted(set(bounds[1:])), what)
                self.assertGreaterEqual(len(bounds), 2, what)
                order = [colour for colour in ("green", "yellow", "red") if colour in colours]
                self.assertIn(list(colours), (order, order[::-1]), what)
                self.assertEqual(order[0], "green", what)

    def test_every_panel_is_in_a_row_and_none_covers_another(self):
        for board in boards():
            ids, taken = [], {}
            for row, panel in in_rows(board):
                self.assertIsNotNone(row, f"{board}: {panel['title']}")
                ids.append(panel["id"])
                place = panel["gridPos"]
                self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
                for x in range(place["x"], place["x"] + place["w"]):
                    for y in range(place["y"], place["y"] + place["h"]):
                        # A folded row has places of its own.
                        spot = (board, row if is_folded(board, row) and panel["type"] != "row" else None, x, y)
                        self.assertIsNone(taken.get(spot), f"{board}: {panel['title']} covers {taken.get(spot)}")
                        taken[spot] = panel["title"]
            self.assertEqual(len(ids), len(set(ids)), board)

    def test_the_dashboards_lead_to_each_other(self):
        uids = {board: read(board)["uid"] for board in boards()}
        for board, uid in uids.items():
            links = read(board)["links"]
            self.assertEqual({link["url"] for link in links}, {f"/d/{other}" for other in uids.values() if other != uid})
            self.assertTrue(all(link["keepTime"] and link["includeVars"] for link in links))


def is_folded(board, title):
    return any(panel["title"] == title and panel["collapsed"] for panel in read(board)["panels"] if panel["type"] == "row")


class Rules(unittest.TestCase):
    def promtool(self, *arguments):
        done = subprocess.run(
            [tool("promtool"), *arguments], cwd=GRAFANA, capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_promtool_takes_the_rules(self):
        self.assertIn(f"SUCCESS: {len(alerts())} rules found", self.promtool("check", "rules", "alerts.yaml"))

    def test_every_alert_fires_and_stays_silent_as_its_test_says(self):
        self.promtool("test", "rules", "alerts_test.yaml")
        tests = (GRAFANA / "alerts_test.yaml").read_text(encoding="utf-8")
        untested = [name for name in alerts() if f'alertname="{name}"' not in tests]
        self.assertEqual(untested, [])


if __name__ == "__main__":
    unittest.main()

"""A move over time, as the gateway's metrics tell it: read again and again, and drawn."""

import re
import sys
import threading
import time
import urllib.request

from pair import PATIENCE_S, ROOT

sys.path.append(str(ROOT / "tests" / "bench"))

from drawing import BAD, OTHERS, OURS, Chart, Curve, over_time  # noqa: E402

EVERY_S = 0.5
SHARE, COMPARED, DIFFERENT = (
    "chatferry_gateway_rollout_percent",
    "chatferry_shadow_compared_total",
    "chatferry_shadow_mismatch_total",
)
HERE, THERE = "chatferry_ws_open", "chatferry_gateway_ws_open"


def scraped(url):
    with urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE_S) as answer:
        return answer.read().decode()


def values(text, name):
    """Values of a metric by its labels."""
    return {labels: float(value) for labels, value in re.findall(rf"(?m)^{name}(\{{.*?\}})? (\S+)$", text)}


class Watcher:
    """Reads the metrics of the server at `url` for as long as it is entered."""

    def __init__(self, url):
        self.url = url
        self.points = {name: [] for name in (SHARE, HERE, THERE, COMPARED, DIFFERENT)}
        self.marks = []
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.failure = None

    def __enter__(self):
        self.began = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()
        if self.failure:
            raise self.failure

    def run(self):
        try:
            while not self.ends.wait(EVERY_S):
                text, second = scraped(self.url), time.monotonic() - self.began
                for name, points in self.points.items():
                    points.append((second, sum(values(text, name).values())))
        except OSError as error:
            self.failure = error

    def mark(self, words):
        """Says, now and in the picture, what happens."""
        second = time.monotonic() - self.began
        self.marks.append((second, words))
        print(f"{second:6.0f} s  {words}", flush=True)

    def picture(self):
        return over_time(
            [
                Chart("conversations that Chatferry serves, %", [self.curve(SHARE, "")], least_top=100, height=70),
                Chart("open sockets", [self.curve(HERE, "Chatferry"), self.curve(THERE, "Django", OTHERS)]),
                Chart("frames and answers compared", [Curve("since the start", self.points[COMPARED])]),
                Chart("of these different", [self.curve(DIFFERENT, "", BAD)], height=50),
            ],
            self.marks,
        )

    def curve(self, name, words, colour=OURS):
        last = f"{words} {self.points[name][-1][1]:g}".strip() if self.points[name] else words
        return Curve(last, self.points[name], colour, steps=True)

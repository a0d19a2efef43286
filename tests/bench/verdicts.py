"""A soak's figures: their medians of the third quarter and of the last, in words, and a chart of each."""

import statistics
from dataclasses import dataclass

from drawing import Chart, Curve, over_time

MEMORY_SETTLES_S = 600  # until then SQLite's page caches fill
MEMORY = "rss_mib"
# Growth that is allowed: a share of the figure, and an amount on top.
ALLOWED = {MEMORY: (0.03, 1), "files": (0, 2), "tasks": (0, 2), "connections": (0, 2)}
# Within this share of what it was a figure is called flat.
FLAT = 0.005
TITLES = {
    MEMORY: "memory in RAM, MiB",
    "files": "files and sockets open",
    "tasks": "tasks",
    "connections": "connections open",
}


@dataclass
class Verdict:
    """One figure's two medians."""

    name: str
    before: float
    after: float
    # Between the middles of the two quarters.
    hours: float
    is_judged: bool

    @property
    def has_grown(self):
        share, more = ALLOWED[self.name]
        return self.is_judged and self.after > self.before * (1 + share) + more

    @property
    def words(self):
        change = self.after - self.before
        if abs(change) <= FLAT * self.before:
            return "flat"
        return f"{change:+.3g} between these quarters, {change / self.hours:+.3g} an hour"

    def __str__(self):
        return f"{TITLES[self.name]}: {self.before:.4g} in the third quarter, {self.after:.4g} in the last: {self.words}"


def verdicts(rows):
    half = rows[len(rows) // 2 :]
    third, last = half[: len(half) // 2], half[len(half) // 2 :]
    middles = [statistics.median(row["second"] for row in quarter) for quarter in (third, last)]
    for name in ALLOWED:
        before, after = (statistics.median(row[name] for row in quarter) for quarter in (third, last))
        is_judged = name != MEMORY or rows[-1]["second"] >= MEMORY_SETTLES_S
        yield Verdict(name, before, after, (middles[1] - middles[0]) / 3600, is_judged)


def plot(rows, judged):
    """A chart for each figure, with its median in the third quarter to compare with."""
    return over_time(
        [
            Chart(
                f"{TITLES[one.name]}: {one.words}",
                [Curve(f"{rows[-1][one.name]:.4g} at the end", [(row["second"], row[one.name]) for row in rows])],
                levels=[(one.before, f"{one.before:.4g}, third quarter")],
            )
            for one in judged
        ]
    )

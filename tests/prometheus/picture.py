"""Draws the overview from what a real Prometheus answers: `python tests/prometheus/picture.py BINARY FILE [MINUTES]`.

Its first row, and a panel of each kind below it. Grafana draws the same panels from the same answers. Needs matplotlib
besides what the tests need.
"""

import contextlib
import shutil
import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
from load import Load, Servers
from matplotlib.ticker import EngFormatter, MultipleLocator
from watch import Prometheus, panels

# Of the panels below the first row, those that fit in a picture that can still be read.
SHOWN = ("Open", "Stored and delivered", "Requests", "Time", "Commit time", "Lag")
COLUMNS = 3
STATS_A_LINE = 6
LINES = 5
BEGIN_S = 30
UNITS = {"s": "s", "bytes": "B", "Bps": "B/s", "reqps": "/s"}
COLOURS = {"green": "#3a8a4f", "yellow": "#c99700", "red": "#c4302b"}


def legend(text, labels):
    for name, value in labels.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def draw_stat(panel, axes, prometheus):
    """A number on the colour that its thresholds give it, as Grafana does."""
    (expression, _), *_ = panel.targets
    (value,) = prometheus.values(expression)
    colour = [name for bound, name in panel.thresholds if bound is None or value >= bound][-1]
    axes.set_axis_off()
    axes.add_patch(plt.Rectangle((0, 0), 1, 1, transform=axes.transAxes, color=COLOURS[colour]))
    middle = {"transform": axes.transAxes, "ha": "center", "va": "center", "color": "white"}
    axes.text(0.5, 0.78, panel.title, fontsize=11, **middle)
    axes.text(0.5, 0.36, written(value, panel.unit), fontsize=20, **middle)


def written(value, unit):
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    return EngFormatter(unit=UNITS.get(unit, ""), places=0)(value)


def draw(panel, axes, prometheus, seconds):
    lines = [
        (legend(text, labels), points)
        for expression, text in panel.targets
        for labels, points in prometheus.history(expression, seconds)
    ]
    # What has happened most comes first; a panel has room for so many, and none for what never happened.
    lines.sort(key=lambda line: -total(line[1]))
    for name, points in [line for line in lines if total(line[1]) > 0][:LINES] or lines[:1]:
        end = points[-1][0]
        axes.plot([at - end for at, _ in points], [value for _, value in points], label=name, linewidth=1.5)
    axes.set_title(f"{panel.row}: {panel.title}", loc="left", fontsize=12)
    axes.yaxis.set_major_formatter(EngFormatter(unit=UNITS.get(panel.unit, "")))
    axes.xaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.xaxis.set_major_locator(MultipleLocator(60))
    axes.set_xlim(-seconds, 0)
    # Room for the legend above the lines.
    axes.set_ylim(0, max(axes.get_ylim()[1], 1e-3) * 1.7)
    axes.tick_params(labelsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, loc="upper left", ncols=2, frameon=False)


def total(points):
    return sum(value for _, value in points if value == value)


def main(binary, file, minutes="3"):
    seconds = int(float(minutes) * 60)
    with contextlib.ExitStack() as stack:
        servers = Servers(stack, Path(binary).resolve())
        stack.enter_context(Load(servers))
        program = shutil.which("prometheus")
        prometheus = Prometheus(stack, program, servers.directory, servers.targets())
        # Before that there is no rate yet.
        time.sleep(seconds + BEGIN_S)
        everything = panels("overview.json")
        stats = [panel for panel in everything if panel.row == everything[0].row]
        lines = {panel.title: panel for panel in reversed(everything) if panel.kind == "timeseries"}
        charts = [lines[title] for title in SHOWN]
        stat_lines, chart_lines = -(-len(stats) // STATS_A_LINE), -(-len(charts) // COLUMNS)
        figure = plt.figure(figsize=(15, 1.1 * stat_lines + 3.1 * chart_lines), layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=[1.1 * stat_lines, 3.1 * chart_lines])
        for panel, axes in zip(stats, above.subplots(stat_lines, STATS_A_LINE).flat, strict=True):
            draw_stat(panel, axes, prometheus)
        for panel, axes in zip(charts, below.subplots(chart_lines, COLUMNS).flat, strict=True):
            draw(panel, axes, prometheus, seconds)
        figure.savefig(file, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])

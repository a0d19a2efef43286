"""Draws the overview from what a real Prometheus answers: `python tests/prometheus/picture.py BINARY FILE [MINUTES]`.

Grafana draws the same panels from the same answers. Needs matplotlib besides what the tests need.
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
from matplotlib.ticker import EngFormatter
from watch import Prometheus, panels

COLUMNS = 4
BEGIN_S = 30
UNITS = {"s": "s", "bytes": "B", "Bps": "B/s", "reqps": "/s"}


def legend(text, labels):
    for name, value in labels.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def draw(panel, axes, prometheus, seconds):
    lines = [
        (legend(text, labels), points)
        for expression, text in panel.targets
        for labels, points in prometheus.history(expression, seconds)
    ]
    # What has happened most comes first; a panel has room for so many, and none for what never happened.
    lines.sort(key=lambda line: -total(line[1]))
    for name, points in [line for line in lines if total(line[1]) > 0][:7] or lines[:1]:
        end = points[-1][0]
        axes.plot([at - end for at, _ in points], [value for _, value in points], label=name, linewidth=1)
    axes.set_title(panel.title, loc="left", fontsize=9)
    axes.yaxis.set_major_formatter(EngFormatter(unit=UNITS.get(panel.unit, "")))
    axes.set_xlim(-seconds, 0)
    # Room for the legend above the lines.
    axes.set_ylim(0, max(axes.get_ylim()[1], 1e-3) * 1.6)
    axes.tick_params(labelsize=6)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6, loc="upper left", ncols=2, frameon=False)


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
        shown = [panel for panel in panels("overview.json") if panel.title not in ("Running for", "Version")]
        rows = -(-len(shown) // COLUMNS)
        figure, grid = plt.subplots(rows, COLUMNS, figsize=(4 * COLUMNS, 2.2 * rows), layout="constrained")
        for axes in grid.flat[len(shown) :]:
            axes.set_axis_off()
        for panel, axes in zip(shown, grid.flat, strict=False):
            draw(panel, axes, prometheus, seconds)
        figure.suptitle(f"Chatferry: overview, the last {seconds} s; x: seconds", fontsize=10)
        figure.savefig(file, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Figures to text: the table of the results, in Markdown."""

import statistics
from dataclasses import dataclass

# What all others are compared with.
BASE = "Daphne"


@dataclass(frozen=True)
class Spread:
    """What one cell measured over the rounds."""

    values: tuple
    faults: tuple = ()

    @property
    def median(self):
        return statistics.median(self.values) if self.values else None


def spread(figures):
    """Of the figures of one cell over the rounds."""
    values = (figure.value for figure in figures if figure.value is not None)
    return Spread(tuple(values), tuple(fault for figure in figures for fault in figure.faults))


def number(value):
    """With three digits that mean something, and no more behind the point than that takes."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


def ratio(cell, spread, base):
    """How many times better than the base; None if there is nothing to compare."""
    if not (spread.values and base.values and spread.median and base.median):
        return None
    return spread.median / base.median if cell.more_is_better else base.median / spread.median


def shown(cell, spread, base):
    if spread.faults and not spread.values:
        return "failed"
    text = number(spread.median)
    if len(spread.values) > 1:
        text += f" ({number(min(spread.values))}–{number(max(spread.values))})"
    times = ratio(cell, spread, base)
    if times is not None and spread is not base:
        text += f", **{number(times)} ×**"
    return text + (", **failed**" if spread.faults else "")


def counted(cell, spread):
    """The line of lost and doubled messages."""
    return "; ".join(spread.faults) or ("0" if spread.values else "–")


def table(cells, names, results):
    """One row for each cell, one column for each server; under what counts messages a row of what went wrong."""
    head = ["", *names]
    rows = []
    for cell in cells:
        of = results[cell.name]
        base = of.get(BASE, Spread(()))
        rows.append([f"{cell.name}, {cell.unit}", *(shown(cell, of.get(name, Spread(())), base) for name in names)])
        if cell.counts or any(of[name].faults for name in names if name in of):
            rows.append(["— lost, doubled or failed", *(counted(cell, of.get(name, Spread(()))) for name in names)])
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def limits(found):
    """What the machine would take at most: name → (unit, Spread, what of ours it is held against, Spread of that)."""
    lines = [["limit", "", "Chatferry beside it"], ["---"] * 3]
    for name, (unit, spread, ours) in found.items():
        share = ours.median / spread.median if ours.values and spread.values else None
        lines.append([f"{name}, {unit}", number(spread.median), "–" if share is None else f"{share:.0%}"])
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)

"""The pictures of the table and of the curves."""

import math

from drawing import BAD, INK, OTHERS, OURS, PALE, WIDTH, line, polyline, round_steps, svg, text
from table import BASE, number, ratio

LABEL, BAR = 190, 16


def bars(cells, names, results):
    """A panel for each cell, a bar for each server: the median, with least and most as a line across its end."""
    parts, y = [], 24
    room = WIDTH - LABEL - 170
    for cell in cells:
        better = "more" if cell.more_is_better else "less"
        parts.append(text(10, y, f"{cell.name}, {cell.unit} ({better} is better)", weight="bold"))
        of = {name: spread for name, spread in results[cell.name].items() if spread.values}
        most = max((max(spread.values) for spread in of.values()), default=1) or 1
        for name in names:
            y += BAR + 4
            parts.append(text(LABEL - 8, y, name, "end"))
            if name in of:
                parts += bar(y, room / most, name, cell, of[name], of.get(BASE))
            else:
                parts.append(text(LABEL, y, "failed", colour=BAD))
        y += 34
    return svg(WIDTH, y, parts)


def bar(y, scale, name, cell, spread, base):
    median = spread.median * scale
    colour = BAD if spread.faults else OURS if name.startswith("Chatferry") else OTHERS
    yield f'<rect x="{LABEL}" y="{y - BAR + 4}" width="{max(1, median):.1f}" height="{BAR - 2}" fill="{colour}"/>'
    least, most = (LABEL + value * scale for value in (min(spread.values), max(spread.values)))
    yield line(least, y - BAR / 2 + 3, most, y - BAR / 2 + 3, INK, 2)
    times = ratio(cell, spread, base) if base and spread is not base else None
    words = number(spread.median) + (f", {number(times)} × {BASE}" if times else "") + (", failed" if spread.faults else "")
    yield text(max(most, LABEL + median) + 8, y, words)


def curves(drawn):
    """A panel for each curve, with a logarithmic x axis, and the bound that its last point must stay below."""
    height, left, parts, y = 150, 70, [], 30
    for curve in drawn:
        parts.append(text(10, y, curve.title, weight="bold", colour=BAD if curve.grows else INK))
        parts += panel(curve, left, y + 14, WIDTH - left - 40, height)
        y += height + 70
    return svg(WIDTH, y, parts)


def panel(curve, left, top, width, height):
    colour = BAD if curve.grows else OURS
    logs = [math.log10(max(1, x)) for x, _ in curve.points]
    span = (logs[-1] - logs[0]) or 1
    share, ticks = scale([value for _, value in curve.points], curve.bound)
    at_y = lambda value: top + height * (1 - share(value))  # noqa: E731
    yield line(left, top + height, left + width, top + height, PALE)
    yield line(left, top, left, top + height, PALE)
    for value in ticks:
        yield text(left - 8, at_y(value) + 4, number(value), "end")
    yield line(left, at_y(curve.bound), left + width, at_y(curve.bound), INK, dashed=True)
    yield text(left + width, at_y(curve.bound) - 6, curve.bound_words, "end")
    at = [(left + (log - logs[0]) / span * width, at_y(value)) for log, (_, value) in zip(logs, curve.points, strict=True)]
    yield polyline(at, colour)
    for (x, level), (count, value) in zip(at, curve.points, strict=True):
        yield f'<circle cx="{x:.1f}" cy="{level:.1f}" r="3" fill="{colour}"/>'
        # Clear of the axis, and of what is said of the bound.
        yield text(x + 6, level - 8, number(value)) if x == left else text(x, level + 18, number(value), "middle")
        yield text(x, top + height + 16, f"{count:,}".replace(",", " "), "middle")


def scale(values, bound):
    """Which share of the height a value has, and values for the axis: from nothing, or logarithmic if they differ much."""
    most, least = max(*values, bound), min(values)
    if most < 20 * least:
        most *= 1.15
        return (lambda value: value / most), round_steps(most)[:-1]
    most *= 2.5
    bottom = 10 ** math.floor(math.log10(least / 2))
    orders = range(round(math.log10(bottom)), math.ceil(math.log10(most)))
    return (lambda value: math.log(value / bottom) / math.log(most / bottom)), [10**order for order in orders]

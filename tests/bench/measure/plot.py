"""Figures to pictures, in SVG that needs nothing but a browser."""

import math
from html import escape

from table import BASE, number, ratio

INK, PALE, OURS, OTHERS, BAD = "#50616c", "#c9d5dc", "#0a6583", "#9fb2bd", "#b3403a"
WIDTH, LABEL, BAR = 900, 190, 16


def svg(width, height, parts):
    style = f'font-family="sans-serif" font-size="13" fill="{INK}"'
    box = f'xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    ground = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return f"<svg {box}>{ground}<g {style}>{''.join(parts)}</g></svg>\n"


def text(x, y, words, anchor="start", colour=INK, weight="normal"):
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}"'
    return f"<text {where}>{escape(words)}</text>"


def line(x1, y1, x2, y2, colour, width=1):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


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
    """A panel for each curve, with a logarithmic x axis and a y axis from nothing."""
    width, height, left, parts = WIDTH, 150, 70, []
    y = 30
    for curve in drawn:
        parts.append(text(10, y, curve.title, weight="bold", colour=BAD if curve.grows else INK))
        top, right = y + 14, width - left - 40
        most = max(value for _, value in curve.points) * 1.15 or 1
        logs = [math.log10(max(1, x)) for x, _ in curve.points]
        span = (logs[-1] - logs[0]) or 1
        at = [
            (left + (log - logs[0]) / span * right, top + height - value / most * height)
            for log, (_, value) in zip(logs, curve.points, strict=True)
        ]
        parts.append(line(left, top + height, left + right, top + height, PALE))
        parts.append(line(left, top, left, top + height, PALE))
        path = " ".join(f"{x:.1f},{level:.1f}" for x, level in at)
        colour = BAD if curve.grows else OURS
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, level), (count, value) in zip(at, curve.points, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{level:.1f}" r="3" fill="{colour}"/>')
            parts.append(text(x, level - 8, number(value), "middle"))
            parts.append(text(x, top + height + 16, f"{count:,}".replace(",", " "), "middle"))
        y = top + height + 56
    return svg(width, y, parts)

"""SVG that needs nothing but a browser: text, lines, and charts of figures over time."""

import math
from dataclasses import dataclass, field
from html import escape

INK, PALE, OURS, OTHERS, BAD = "#50616c", "#c9d5dc", "#0a6583", "#9fb2bd", "#b3403a"
WIDTH = 900
# Around the frame of a chart: numbers to the left, what is said of its lines to the right, title and times above and below.
LEFT, RIGHT, ABOVE, BELOW = 70, 190, 34, 34
TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400)


def svg(width, height, parts):
    style = f'font-family="sans-serif" font-size="13" fill="{INK}"'
    box = f'xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    ground = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return f"<svg {box}>{ground}<g {style}>{''.join(parts)}</g></svg>\n"


def text(x, y, words, anchor="start", colour=INK, weight="normal"):
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}"'
    return f"<text {where}>{escape(words)}</text>"


def line(x1, y1, x2, y2, colour, width=1, dashed=False):
    dashes = ' stroke-dasharray="6 4"' if dashed else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"{dashes}/>'


def polyline(points, colour, width=2):
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def round_steps(most, at_most=4):
    """Numbers from 0 to `most` or a little above, at a step of 1, 2 or 5 times a power of ten."""
    rough = most / at_most
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [step * count for count in range(math.ceil(most / step - 1e-9) + 1)]


def time_steps(seconds, at_most=8):
    """Times from 0 on, and how each is written."""
    step = next((step for step in TIME_STEPS_S if seconds / step <= at_most), TIME_STEPS_S[-1])
    unit, size = ("h", 3600) if step >= 3600 else ("min", 60) if step >= 60 else ("s", 1)
    return [(at, f"{at / size:g} {unit}" if at else "0") for at in range(0, int(seconds) + 1, step)]


@dataclass
class Curve:
    """A figure over time: (second, value) in the order of time."""

    name: str
    points: list
    colour: str = OURS
    # A value holds until the next one.
    steps: bool = False


@dataclass
class Chart:
    title: str
    curves: list
    # Behind each number of the axis.
    unit: str = ""
    # The axis goes up to this at least.
    least_top: float = 1
    # (value, words): lines to compare with.
    levels: list = field(default_factory=list)
    height: int = 120

    def top(self):
        values = [value for curve in self.curves for _, value in curve.points]
        return max([*values, *(value for value, _ in self.levels), self.least_top])


def over_time(charts, marks=()):
    """Charts one above the other on one axis of time; `marks` are (second, words), drawn through all of them."""
    seconds = max((curve.points[-1][0] for chart in charts for curve in chart.curves if curve.points), default=1) or 1
    parts, y = [], 0
    for place, chart in enumerate(charts):
        # Room for the words of the marks.
        y += ABOVE + (14 * bool(marks) if place == 0 else 0)
        parts += framed(chart, y, seconds, marks, is_first=place == 0)
        y += chart.height + BELOW
    return svg(WIDTH, y + 6, parts)


def framed(chart, top, seconds, marks, is_first):
    width, bottom = WIDTH - LEFT - RIGHT, top + chart.height
    steps = round_steps(chart.top())
    at_x = lambda second: LEFT + second / seconds * width  # noqa: E731
    at_y = lambda value: bottom - value / steps[-1] * chart.height  # noqa: E731
    yield text(LEFT, top - (24 if is_first and marks else 10), chart.title, weight="bold")
    for value in steps:
        yield line(LEFT, at_y(value), LEFT + width, at_y(value), PALE)
        yield text(LEFT - 8, at_y(value) + 4, f"{value:,.10g}".replace(",", " ") + chart.unit, "end")
    for second, words in time_steps(seconds):
        yield line(at_x(second), bottom, at_x(second), bottom + 4, INK)
        yield text(at_x(second), bottom + 18, words, "middle")
    for second, words in marks:
        yield line(at_x(second), top, at_x(second), bottom, OTHERS, dashed=True)
        if is_first:
            yield text(at_x(second), top - 6, words, "middle")
    for value, words in chart.levels:
        yield line(LEFT, at_y(value), LEFT + width, at_y(value), INK, dashed=True)
        yield text(LEFT + width + 8, at_y(value) + 4, words)
    yield line(LEFT, bottom, LEFT + width, bottom, INK)
    yield line(LEFT, top, LEFT, bottom, INK)
    yield from (polyline([(at_x(x), at_y(y)) for x, y in drawn(curve)], curve.colour) for curve in chart.curves)
    yield from names(chart, LEFT + width + 8, at_y, top)


def drawn(curve):
    """The points as they are joined."""
    for before, point in zip([None, *curve.points], curve.points, strict=False):
        if curve.steps and before:
            yield point[0], before[1]
        yield point


def names(chart, x, at_y, top):
    """Each curve's name at its end, further down where another word stands already."""
    taken = [at_y(value) for value, _ in chart.levels]
    named = [curve for curve in chart.curves if curve.points and curve.name]
    for curve in sorted(named, key=lambda curve: -curve.points[-1][1]):
        y = max(at_y(curve.points[-1][1]), top)
        while any(abs(y - other) < 14 for other in taken):
            y += 1
        taken.append(y)
        yield text(x, y + 4, curve.name, colour=curve.colour, weight="bold")

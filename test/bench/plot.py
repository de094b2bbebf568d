# SPDX-License-Identifier: GPL-2.0-or-later
"""Plots as SVG: lines over logarithmic axes, readable on light and on dark ground."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 86, 24, 84, 58
LEGEND_COLUMN = 165
# Of middle brightness, told apart by those who see no red or no green, too; and dashes.
STYLES = (("#0a84d6", ""), ("#d1640a", ""), ("#0a84d6", "7 5"), ("#d1640a", "7 5"),
          ("#7d8590", "2 4"), ("#1a9c6b", "10 4 2 4"))
MARKS = ("circle", "square", "circle", "square", "none", "none")
STYLE_SHEET = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.small { font-size: 12px }
.grid { stroke: #8b949e; stroke-opacity: .28; stroke-width: 1 }
.axis { stroke: #8b949e; stroke-width: 1; fill: none }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }
"""


class Axis:
    """Logarithmic, from `low` to `high`, which lie at the pixels `first` and `last`."""

    def __init__(self, low, high, first, last):
        self.low, self.high = math.log10(low), math.log10(high)
        self.first, self.last = first, last

    def place(self, value):
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.first + part * (self.last - self.first), 1)

    def decades(self):
        """The powers of ten on it."""
        return [10 ** power for power in range(math.ceil(self.low - 1e-9),
                                               math.floor(self.high + 1e-9) + 1)]


def format_tick(value):
    if value >= 1:
        return f"{value:,.0f}"
    return f"{value:g}"


def make_axis(values, first, last):
    """Whole decades around the values."""
    low, high = min(values), max(values)
    bottom = 10 ** math.floor(math.log10(low))
    top = 10 ** math.ceil(math.log10(high))
    return Axis(bottom, top if top > bottom else bottom * 10, first, last)


def draw_mark(kind, x, y, colour):
    if kind == "circle":
        return f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>'
    if kind == "square":
        return (f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" '
                f'fill="{colour}"/>')
    return ""


def draw_line(series, number, across, up):
    """A line through the medians, with the spread of each as a bar."""
    colour, dash = STYLES[number % len(STYLES)]
    places = [(across.place(x), up.place(y), up.place(low), up.place(high))
              for x, y, low, high in series]
    path = " ".join(f"{x},{y}" for x, y, _, _ in places)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    yield (f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.2"'
           f'{dashes}/>')
    for x, y, low, high in places:
        if abs(low - high) > 1:
            yield (f'<line x1="{x}" y1="{low}" x2="{x}" y2="{high}" stroke="{colour}" '
                   'stroke-width="1.4"/>')
        yield draw_mark(MARKS[number % len(MARKS)], x, y, colour)


def draw_legend(names):
    """Rows of four above the plot."""
    for number, name in enumerate(names):
        colour, dash = STYLES[number % len(STYLES)]
        x = LEFT + number % 4 * LEGEND_COLUMN
        y = 44 + number // 4 * 20
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        yield (f'<line x1="{x}" y1="{y}" x2="{x + 30}" y2="{y}" stroke="{colour}" '
               f'stroke-width="2.2"{dashes}/>')
        yield draw_mark(MARKS[number % len(MARKS)], x + 15, y, colour)
        yield f'<text class="small" x="{x + 37}" y="{y + 4}">{escape(name)}</text>'


def draw_axes(across, up, columns, labels):
    """Grid, ticks and titles. columns: the values below the plot."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in up.decades():
        y = up.place(value)
        yield f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}"/>'
        yield (f'<text class="small" x="{LEFT - 8}" y="{y + 4}" text-anchor="end">'
               f'{format_tick(value)}</text>')
    for value in columns:
        x = across.place(value)
        yield f'<line class="grid" x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}"/>'
        yield (f'<text class="small" x="{x}" y="{bottom + 18}" text-anchor="middle">'
               f'{format_tick(value)}</text>')
    yield f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>'
    middle = (TOP + bottom) / 2
    yield (f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 14}" text-anchor="middle">'
           f'{escape(labels["x"])}</text>')
    yield (f'<text x="18" y="{middle}" text-anchor="middle" '
           f'transform="rotate(-90 18 {middle})">{escape(labels["y"])}</text>')


def draw(lines, labels):
    """
    The text of a plot. lines: {name: [(x, y, low, high)]}, x ascending, all above 0, at
    most as many as STYLES. labels: title, x, y, about (what who cannot see it is told).
    """
    points = [point for series in lines.values() for point in series]
    columns = sorted({x for x, *_ in points})
    across = Axis(columns[0], max(columns[-1], columns[0] * 10), LEFT + 14,
                  WIDTH - RIGHT - 14)
    up = make_axis([value for _, *values in points for value in values],
                   HEIGHT - BOTTOM, TOP)
    body = [*draw_axes(across, up, columns, labels), *draw_legend(lines)]
    for number, series in enumerate(lines.values()):
        body += draw_line(series, number, across, up)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-labelledby="title about">',
        f'<title id="title">{escape(labels["title"])}</title>',
        f'<desc id="about">{escape(labels["about"])}</desc>',
        f"<style>{STYLE_SHEET}</style>",
        f'<text class="title" x="{LEFT}" y="22">{escape(labels["title"])}</text>',
        *(line for line in body if line), "</svg>", ""])

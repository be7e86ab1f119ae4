"""Draw charts as inline SVG, coloured by the page's style sheet, so that they follow light and dark."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, LEFT, RIGHT = 720, 64, 16
BAR_LEFT, BAR_RIGHT, BAR, GAP = 120, 150, 14, 10  # of bar charts: room for names and for numbers
HEIGHT, TOP, BOTTOM = 270, 28, 40  # of line charts
SERIES = 6  # colours of the style sheet; more series use them again


@dataclass(frozen=True)
class Bar:
    """One bar, and a whisker to `high`."""

    series: int  # which colour
    value: float
    text: str  # beside it
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """Points that are joined; `text` is written beside the last one."""

    series: int
    points: Sequence[tuple[float, float]]
    text: str = ""


@dataclass(frozen=True)
class Chart:
    """What a chart says besides its data."""

    title: str
    about: str  # read out by screen readers
    x: str = ""
    y: str = ""
    zero: bool = True  # whether the y axis begins at zero
    whole: bool = True  # whether x are whole numbers
    marks: Sequence[tuple[float, str]] = field(default=())  # words at an x
    height: int = HEIGHT  # of a line chart


def number(value: float) -> str:
    """Format a number for people, with three digits or more."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def ticks(low: float, high: float, count: int = 5, *, whole: bool = False) -> list[float]:
    """Return round numbers from at most `low` to at least `high`, about `count` of them."""
    rough = max((high - low) or 1.0, 1e-9) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    step = max(1.0, math.ceil(step)) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * index, 12) for index in range(first, max(last, first + 1) + 1)]


def bars(chart: Chart, groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Draw horizontal bars in named groups, all to one scale that begins at zero; returns an SVG element."""
    every = [bar for _, group in groups for bar in group]
    scale = ticks(0, max((bar.high or bar.value for bar in every), default=1.0) or 1.0)
    plot = WIDTH - BAR_LEFT - BAR_RIGHT
    height = TOP - 10 + BAR * len(every) + GAP * len(groups) + BOTTOM - GAP

    def x(value: float) -> float:
        return BAR_LEFT + plot * value / scale[-1]

    parts = [_grid(x(tick), TOP - 16, x(tick), height - BOTTOM + 4) for tick in scale]
    parts += [_text(x(tick), height - BOTTOM + 18, f"{tick:,g}", "middle") for tick in scale]
    parts.append(_text(BAR_LEFT + plot / 2, height - 4, chart.x, "middle", "axis"))
    y = float(TOP - 10)
    for name, group in groups:
        parts.append(_text(BAR_LEFT - 10, y + BAR * len(group) / 2 + 4, name, "end", "name"))
        for bar in group:
            parts.append(_bar(bar, x(0), x(bar.value), y))
            end = bar.value
            if bar.high is not None:
                end = max(bar.high, end)
                middle = y + BAR / 2 - 1
                parts.append(_path(f"M{_n(x(bar.value))} {_n(middle)}H{_n(x(bar.high))}m0 -3v6", "whisker"))
            parts.append(_text(x(end) + 6, y + BAR - 4, bar.text))
            y += BAR
        y += GAP
    return _svg(chart, height, parts)


def lines(chart: Chart, series: Sequence[Line]) -> str:
    """Draw lines over one pair of axes; returns an SVG element."""
    points = [point for line in series for point in line.points]
    xs, ys = [x for x, _ in points] + [x for x, _ in chart.marks], [y for _, y in points]
    across = ticks(min(xs), max(xs), 8, whole=chart.whole)
    up = ticks(0 if chart.zero else min(ys), max(ys))
    low_x, high_x = (min(xs), max(*xs, min(xs) + 1)) if chart.whole else (across[0], across[-1])
    floor = chart.height - BOTTOM

    def place(point: tuple[float, float]) -> tuple[float, float]:
        share_x, share_y = (point[0] - low_x) / (high_x - low_x), (point[1] - up[0]) / (up[-1] - up[0])
        return (
            LEFT + 8 + (WIDTH - LEFT - RIGHT - 16) * share_x,
            floor - (floor - TOP) * share_y,
        )

    parts = []
    for tick in up:
        y = place((low_x, tick))[1]
        parts += [_grid(LEFT, y, WIDTH - RIGHT, y), _text(LEFT - 6, y + 4, f"{tick:,g}", "end")]
    for tick in across:
        if low_x <= tick <= high_x:
            parts.append(_text(place((tick, up[0]))[0], floor + 18, f"{tick:,g}", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, chart.height - 4, chart.x, "middle", "axis"))
    parts.append(_text(4, 12, chart.y, css="axis"))
    for at, words in chart.marks:
        x = place((at, up[0]))[0]
        parts += [_grid(x, TOP, x, floor, "mark"), _text(x + 4, TOP + 10, words, css="mark")]
    for line in series:
        parts += _line(line, [place(point) for point in line.points])
    return _svg(chart, chart.height, parts)


def _line(line: Line, places: Sequence[tuple[float, float]]) -> Iterable[str]:
    colour = f"s{line.series % SERIES}"
    if len(places) > 1:
        joined = "L".join(f"{_n(x)} {_n(y)}" for x, y in places)
        yield _path(f"M{joined}", f"line {colour}")
    for x, y in places:
        yield f'<circle class="dot {colour}" cx="{_n(x)}" cy="{_n(y)}" r="3.5"/>'
    if line.text:
        x, y = places[-1]
        right = x > WIDTH * 0.7
        yield _text(x + (-7 if right else 7), y - 6, line.text, "end" if right else "start")


def _bar(bar: Bar, left: float, right: float, y: float) -> str:
    width = max(right - left, 1.0)
    return (
        f'<rect class="bar s{bar.series % SERIES}" x="{_n(left)}" y="{_n(y)}" width="{_n(width)}" '
        f'height="{BAR - 2}" rx="2"/>'
    )


def _svg(chart: Chart, height: float, parts: Iterable[str]) -> str:
    title, about = escape(chart.title), escape(chart.about)
    return (
        f'<svg viewBox="0 0 {WIDTH} {_n(height)}" role="img" aria-label="{title}. {about}">'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, words: str, anchor: str = "start", css: str = "") -> str:
    kind = f' class="{css}"' if css else ""
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"{kind}>{escape(words)}</text>' if words else ""
    )


def _grid(x1: float, y1: float, x2: float, y2: float, css: str = "grid") -> str:
    return _path(f"M{_n(x1)} {_n(y1)}L{_n(x2)} {_n(y2)}", css)


def _path(data: str, css: str) -> str:
    return f'<path class="{css}" d="{data}"/>'


def _n(value: float) -> str:
    """Format a coordinate with at most one digit after the point: pixels need no more."""
    return f"{value:.1f}".removesuffix(".0")

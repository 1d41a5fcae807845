"""A chart of a few series over one axis as hand-written SVG, in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from decoct.analysis.finding import Chart, Series
from decoct.report.plots import Curve, marker_svg

LEFT, TOP, BOTTOM, RIGHT = 58.0, 30.0, 62.0, 16.0
_ZERO_GAP = 0.35
"""Decades between a place at 0 and the smallest other one, on a logarithmic axis."""
_NAMES_SHOWN = 12


@dataclass(frozen=True)
class Plane:
    """Where values stand in a drawing."""

    chart: Chart
    width: float
    height: float
    x: tuple[float, float]
    """Ends of the axis: values, or their powers of ten where it is logarithmic."""
    y: tuple[float, float]

    def at_x(self, value: float) -> float:
        share = (_place(self.chart, value) - self.x[0]) / (self.x[1] - self.x[0])
        return LEFT + share * (self.width - LEFT - RIGHT)

    def at_y(self, value: float) -> float:
        low, high = self.y
        height = _height(self.chart, value)
        share = (min(max(height, low), high) - low) / (high - low)
        return self.height - BOTTOM - share * (self.height - TOP - BOTTOM)


def line_chart(chart: Chart, width: float, height: float, title: str) -> str:
    """The chart with 95 % intervals, an axis in values or names, and a legend below; nothing for no points."""
    shown = [series for series in chart.series if series.x]
    if not shown:
        return ""
    plane = Plane(chart, width, height, _span_x(chart, shown), _span_y(chart, shown))
    parts = [_heights(plane), _places(plane, shown)]
    for style, series in enumerate(shown):
        parts.append(_series(plane, series, style, (style - (len(shown) - 1) / 2) * 5.0))
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(_spoken(chart, shown, title))}">'
    return head + "".join(parts) + "</svg>"


def legend(chart: Chart) -> str:
    """Marker and name of every series."""
    shown = [series for series in chart.series if series.x]
    keys = [
        f"<span>{marker_svg(Curve('', (), style, series.quiet))}{escape(series.name)}</span>"
        for style, series in enumerate(shown)
    ]
    return f'<p class="legend">{"".join(keys)}</p>'


def _place(chart: Chart, value: float) -> float:
    if not chart.log_x:
        return value
    positive = [x for series in chart.series for x in series.x if x > 0]
    smallest = math.log10(min(positive)) if positive else 0.0
    return math.log10(value) if value > 0 else smallest - _ZERO_GAP


def _height(chart: Chart, value: float) -> float:
    return math.log10(max(value, 1e-12)) if chart.log_y else value


def _span_x(chart: Chart, shown: Sequence[Series]) -> tuple[float, float]:
    places = [_place(chart, x) for series in shown for x in series.x]
    low, high = min(places), max(places)
    pad = 0.6 if chart.names else max(0.05 * (high - low), 1e-9 if high > low else 0.5)
    return low - pad, high + pad


def _span_y(chart: Chart, shown: Sequence[Series]) -> tuple[float, float]:
    means = [_height(chart, y) for series in shown for y in series.y]
    spread = max(max(means) - min(means), 0.02 if chart.percent else 1e-6)
    ends = [
        _height(chart, v) for s in shown for v in (*s.low, *s.high) if v is not None and not (chart.log_y and v <= 0)
    ]
    # A bar of two seeds can be wider than all differences; it is cut rather than flattening the rest.
    low = max(min([*means, *ends]), min(means) - 0.5 * spread)
    high = min(max([*means, *ends]), max(means) + 0.5 * spread)
    pad = 0.06 * max(high - low, spread)
    low, high = low - pad, high + pad
    return (max(0.0, low), min(1.0, high)) if chart.percent and low < 1 and high > 0 else (low, high)


def _heights(plane: Plane) -> str:
    chart, lines = plane.chart, []
    for value in _ticks(plane.y, chart.log_y, 6):
        y = plane.at_y(value)
        lines.append(f'<path class="grid" d="M{LEFT:g} {y:.1f}H{plane.width - RIGHT:g}"/>')
        lines.append(_text((LEFT - 8, y + 4), _number(100 * value if chart.percent else value), "end"))
    lines.append(_text((0.0, 12.0), chart.y_label, "start"))
    return "".join(lines)


def _places(plane: Plane, shown: Sequence[Series]) -> str:
    chart, floor = plane.chart, plane.height - BOTTOM
    lines = [f'<path class="axis" d="M{LEFT:g} {floor:g}H{plane.width - RIGHT:g}"/>']
    if chart.names:
        step = max(1, math.ceil(len(chart.names) / _NAMES_SHOWN))
        room = (plane.width - LEFT - RIGHT) / max(1, math.ceil(len(chart.names) / step))
        ticks = [(float(place), _cut(name, room)) for place, name in list(enumerate(chart.names))[::step]]
    elif chart.log_x:
        # Logarithmic places are few and chosen, so they are the ticks.
        values = sorted({x for series in shown for x in series.x})
        ticks, last = [], -math.inf
        for value in values:
            if plane.at_x(value) - last >= 34:
                ticks.append((value, _number(value)))
                last = plane.at_x(value)
    else:
        ticks = [(value, _number(value)) for value in _ticks(plane.x, False, 8)]
    for value, words in ticks:
        x = plane.at_x(value)
        lines.append(f'<path class="axis" d="M{x:.1f} {floor:g}v5"/>')
        lines.append(_text((x, floor + 19), words, "middle"))
    middle = (LEFT + plane.width - RIGHT) / 2
    lines.append(_text((middle, floor + 42), chart.x_label, "middle"))
    return "".join(lines)


def _ticks(span: tuple[float, float], log: bool, most: int) -> list[float]:
    low, high = span
    if log:
        found = [lead * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for lead in (1, 2, 5)]
        inside = [value for value in found if low <= math.log10(value) <= high]
        return inside[:: max(1, math.ceil(len(inside) / most))]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(lead * power for lead in (1, 2, 5, 10) if lead * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [place * step for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _series(plane: Plane, series: Series, style: int, shift: float) -> str:
    curve = Curve(series.name, (), style, series.quiet)
    spread = shift if plane.chart.names else 0.0
    places = [(plane.at_x(x) + spread, plane.at_y(y)) for x, y in zip(series.x, series.y, strict=True)]
    parts = []
    if series.line and len(places) > 1:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        dash = ' stroke-dasharray="3 4"' if series.quiet else ""
        parts.append(f'<path d="M{path}" fill="none" stroke="{curve.colour}" stroke-width="1.6"{dash}/>')
    for (x, y), low, high in zip(places, series.low, series.high, strict=True):
        if low is not None and high is not None:
            ends = f"M{x:.1f} {plane.at_y(low):.1f}V{plane.at_y(high):.1f}"
            parts.append(f'<path d="{ends}" stroke="{curve.colour}" stroke-width="1.6" opacity=".6"/>')
        parts.append(_mark(curve, x, y, len(places)))
    return f"<g><title>{escape(series.name)}</title>{''.join(parts)}</g>"


def _mark(curve: Curve, x: float, y: float, count: int) -> str:
    """The marker of a series, taken from its key so that both look alike; smaller where there are many."""
    body = marker_svg(curve).partition(">")[2].removesuffix("</svg>")
    size = 0.9 if count <= 40 else 0.45
    return f'<g transform="translate({x:.1f} {y:.1f}) scale({size}) translate(-8 -8)">{body}</g>'


def _text(at: tuple[float, float], words: str, anchor: str) -> str:
    return f'<text class="tick" x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _cut(name: str, room: float) -> str:
    letters = max(3, int(room / 7))
    return name if len(name) <= letters else name[: letters - 1] + "…"


def _number(value: float) -> str:
    size = abs(value)
    text = f"{value:.4g}" if size < 1e4 else f"{value:,.0f}" if size < 1e7 else f"{value:.1e}"
    return text.replace("-", "−")


def _spoken(chart: Chart, shown: Sequence[Series], title: str) -> str:
    factor = 100.0 if chart.percent else 1.0
    ends = [f"{s.name} from {_number(factor * s.y[0])} to {_number(factor * s.y[-1])}" for s in shown]
    return f"{title}: {chart.y_label} over {chart.x_label}. {'; '.join(ends)}. The table below holds every number."

"""Charts as hand-written SVG that takes its colours from the page, so that it reads in light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from decoct.durations import show_bytes
from decoct.report.contents import Estimate

MARKERS = ("circle", "square", "triangle", "diamond", "down", "cross", "plus", "hexagon")
COLOURS = 7
"""Colours in the style sheet (--m0 to --m6); shapes and colours have no common divisor, so 56 pairs are distinct."""
LABEL_GAP = 17.0
DODGE = 7.0
WIDEST_BAR = 0.08


@dataclass(frozen=True)
class Point:
    """One set: its bytes and its accuracy."""

    bytes: int
    accuracy: Estimate


@dataclass(frozen=True)
class Curve:
    """One method over its sizes; `style` picks colour and marker, `quiet` draws a baseline in gray."""

    name: str
    points: tuple[Point, ...]
    style: int
    quiet: bool = False

    @property
    def colour(self) -> str:
        return "var(--muted)" if self.quiet else f"var(--m{self.style % COLOURS})"

    @property
    def marker(self) -> str:
        return MARKERS[self.style % len(MARKERS)]


@dataclass(frozen=True)
class Frame:
    """Where the plane of a chart lies, and what its axes span."""

    width: float
    height: float
    right: float
    x: tuple[float, float]
    """Powers of ten of the bytes."""
    y: tuple[float, float]
    """Accuracy, in [0, 1]."""
    left: float = 46.0
    top: float = 34.0
    bottom: float = 46.0

    def at_x(self, count: int) -> float:
        low, high = self.x
        return self.left + (math.log10(count) - low) / (high - low) * (self.width - self.left - self.right)

    def at_y(self, accuracy: float) -> float:
        low, high = self.y
        return self.top + (high - accuracy) / (high - low) * (self.height - self.top - self.bottom)


def accuracy_chart(curves: Sequence[Curve], full: Estimate | None, width: float, height: float, title: str) -> str:
    """Accuracy against bytes (log scale) with 95 % bars, the full-data line and each method's name at its end."""
    if not any(curve.points for curve in curves):
        return ""
    frame = _frame(curves, full, width, height)
    parts = [_grid(frame), _full_line(frame, full) if full else ""]
    for place, curve in enumerate(curves):
        parts.append(_curve(frame, curve, (place - (len(curves) - 1) / 2) * DODGE))
    parts.append(_names(frame, curves))
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(_spoken(curves, full, title))}">'
    return head + "".join(parts) + "</svg>"


def marker_svg(curve: Curve) -> str:
    """The marker of a curve alone, for tables and legends."""
    return f'<svg class="key" viewBox="0 0 16 16" aria-hidden="true">{_marker(curve, 8.0, 8.0)}</svg>'


def _frame(curves: Sequence[Curve], full: Estimate | None, width: float, height: float) -> Frame:
    points = [point for curve in curves for point in curve.points]
    powers = [math.log10(max(point.bytes, 1)) for point in points]
    low, high = min(powers), max(powers)
    # At least a third of a decade, and room for the bars that stand side by side at the ends.
    pad = max((high - low) * 0.12, 0.18)
    estimates = [point.accuracy for point in points] + ([full] if full else [])
    # A bar of a few seeds can be wider than all differences; it is cut at the frame rather than flattening the rest.
    bottom = min(max(estimate.low, estimate.mean - WIDEST_BAR) for estimate in estimates)
    top = max(min(estimate.high, estimate.mean + WIDEST_BAR) for estimate in estimates)
    step = _step(top - bottom)
    y = (max(0.0, math.floor(bottom / step - 0.2) * step), min(1.0, math.ceil(top / step + 0.2) * step))
    longest = max(len(curve.name) for curve in curves)
    return Frame(width, height, right=min(26 + 8.4 * longest, width * 0.34), x=(low - pad, high + pad), y=y)


def _step(span: float) -> float:
    return next((step for step in (0.01, 0.02, 0.05, 0.1) if span / step <= 6), 0.2)


def _grid(frame: Frame) -> str:
    step = _step(frame.y[1] - frame.y[0])
    first = math.ceil(frame.y[0] / step - 1e-9)
    lines = []
    for tick in range(first, math.floor(frame.y[1] / step + 1e-9) + 1):
        y = frame.at_y(tick * step)
        lines.append(f'<path class="grid" d="M{frame.left:g} {y:.1f}H{frame.width - frame.right:g}"/>')
        lines.append(_text("tick", (frame.left - 8, y + 4), f"{100 * tick * step:.0f}", "end"))
    floor = frame.height - frame.bottom
    lines.append(f'<path class="axis" d="M{frame.left:g} {floor:g}H{frame.width - frame.right:g}"/>')
    for count in _byte_ticks(frame):
        x = frame.at_x(count)
        lines.append(f'<path class="axis" d="M{x:.1f} {floor:g}v5"/>')
        lines.append(_text("tick", (x, floor + 19), show_bytes(count).replace(".0", ""), "middle"))
    middle = (frame.left + frame.width - frame.right) / 2
    lines.append(_text("tick", (middle, frame.height - 6), "bytes of images, labels and decoder", "middle"))
    lines.append(_text("tick", (0.0, 12.0), "test accuracy, %"))
    return "".join(lines)


def _text(kind: str, at: tuple[float, float], words: str, anchor: str = "start", *, colour: str = "") -> str:
    paint = f' style="fill:{colour}"' if colour else ""
    return f'<text class="{kind}" x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}"{paint}>{escape(words)}</text>'


def _byte_ticks(frame: Frame) -> list[int]:
    low, high = frame.x
    powers = range(math.floor(low), math.ceil(high) + 1)
    for leads in ((1,), (1, 3), (1, 2, 5)):
        ticks = [lead * 10**power for power in powers if power >= 0 for lead in leads]
        inside = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(inside) >= 3:
            break
    room = (frame.width - frame.left - frame.right) / 58
    return inside[:: max(1, math.ceil(len(inside) / room))]


def _full_line(frame: Frame, full: Estimate) -> str:
    y, right = frame.at_y(full.mean), frame.width - frame.right
    top, bottom = frame.at_y(min(full.high, frame.y[1])), frame.at_y(max(full.low, frame.y[0]))
    band = f'<path class="band" d="M{frame.left:g} {top:.1f}H{right:.1f}V{bottom:.1f}H{frame.left:g}Z"/>'
    line = f'<path class="full" d="M{frame.left:g} {y:.1f}H{right:.1f}"/>'
    text = _text("note", (frame.left + 6, y - 7), f"all of the data: {100 * full.mean:.1f}")
    return band + line + text


def _curve(frame: Frame, curve: Curve, shift: float) -> str:
    places = [(frame.at_x(max(p.bytes, 1)) + shift, p.accuracy) for p in curve.points]
    dash = ' stroke-dasharray="3 4"' if curve.quiet else ""
    path = "L".join(f"{x:.1f} {frame.at_y(a.mean):.1f}" for x, a in places)
    parts = [f'<path d="M{path}" fill="none" stroke="{curve.colour}" stroke-width="1.6" opacity=".75"{dash}/>']
    for x, accuracy in places:
        top = frame.at_y(min(accuracy.high, frame.y[1]))
        bottom = frame.at_y(max(accuracy.low, frame.y[0]))
        parts.append(f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{curve.colour}" stroke-width="2"/>')
        parts.append(_marker(curve, x, frame.at_y(accuracy.mean)))
    return f"<g><title>{escape(curve.name)}</title>{''.join(parts)}</g>"


def _marker(curve: Curve, x: float, y: float) -> str:
    paint = f'fill="{curve.colour}" stroke="var(--paper)" stroke-width="1.2"'
    if curve.marker == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {paint}/>'
    corners = _CORNERS[curve.marker]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" {paint}/>'


_CORNERS: dict[str, tuple[tuple[float, float], ...]] = {
    "square": ((-4.6, -4.6), (4.6, -4.6), (4.6, 4.6), (-4.6, 4.6)),
    "triangle": ((0, -6.2), (5.6, 4.2), (-5.6, 4.2)),
    "diamond": ((0, -6.4), (6.4, 0), (0, 6.4), (-6.4, 0)),
    "down": ((0, 6.2), (5.6, -4.2), (-5.6, -4.2)),
    "cross": ((-5.6, -3.4), (-3.4, -5.6), (0, -2.2), (3.4, -5.6), (5.6, -3.4), (2.2, 0),
              (5.6, 3.4), (3.4, 5.6), (0, 2.2), (-3.4, 5.6), (-5.6, 3.4), (-2.2, 0)),
    "plus": ((-1.7, -6), (1.7, -6), (1.7, -1.7), (6, -1.7), (6, 1.7), (1.7, 1.7),
             (1.7, 6), (-1.7, 6), (-1.7, 1.7), (-6, 1.7), (-6, -1.7), (-1.7, -1.7)),
    "hexagon": ((-5.8, 0), (-2.9, -5), (2.9, -5), (5.8, 0), (2.9, 5), (-2.9, 5)),
}  # fmt: skip


def _names(frame: Frame, curves: Sequence[Curve]) -> str:
    ends = [(frame.at_y(curve.points[-1].accuracy.mean), curve) for curve in curves if curve.points]
    ends.sort(key=lambda end: end[0])
    heights = _spread([y for y, _ in ends], LABEL_GAP, frame.top + 4, frame.height - frame.bottom)
    x = frame.width - frame.right
    order = {id(curve): place for place, curve in enumerate(curves)}
    parts = []
    for (y, curve), height in zip(ends, heights, strict=True):
        start = frame.at_x(max(curve.points[-1].bytes, 1)) + (order[id(curve)] - (len(curves) - 1) / 2) * DODGE + 8
        parts.append(f'<path class="leader" d="M{start:.1f} {y:.1f}L{x:.1f} {height:.1f}h6"/>')
        parts.append(_text("name", (x + 10, height + 4), curve.name, colour=curve.colour))
    return "".join(parts)


def _spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move sorted heights apart to at least `gap`, as little as possible, within [low, high] where they fit."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, low, placed[-1] + gap if placed else low))
    limit = high
    for place in range(len(placed) - 1, -1, -1):
        placed[place] = min(placed[place], limit)
        limit = placed[place] - gap
    return placed


def _spoken(curves: Sequence[Curve], full: Estimate | None, title: str) -> str:
    ends = [(curve.name, curve.points[-1]) for curve in curves if curve.points]
    said = [f"{name} reaches {100 * p.accuracy.mean:.1f} percent at {show_bytes(p.bytes)}" for name, p in ends]
    end = f"; all of the data reach {100 * full.mean:.1f} percent" if full else ""
    return f"{title}. {', '.join(said)}{end}. The table below holds every number."

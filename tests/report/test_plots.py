"""The chart puts marks where the numbers are."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoct.analysis.finding import Chart, Series
from decoct.report.contents import Estimate
from decoct.report.lines import line_chart
from decoct.report.plots import COLOURS, MARKERS, Curve, Frame, Point, _spread, accuracy_chart


def test_bytes_are_on_a_log_scale_and_accuracy_on_a_straight_one() -> None:
    frame = Frame(900.0, 400.0, right=100.0, x=(2.0, 5.0), y=(0.2, 1.0))
    steps = [frame.at_x(10**power) for power in (2, 3, 4, 5)]
    assert math.isclose(steps[0], frame.left)
    assert math.isclose(steps[3], 800)
    assert math.isclose(steps[1] - steps[0], steps[2] - steps[1])
    assert math.isclose(frame.at_y(1.0), frame.top)
    assert math.isclose(frame.at_y(0.2), 400 - frame.bottom)
    assert math.isclose(frame.at_y(0.6), (frame.top + 400 - frame.bottom) / 2)


def test_the_chart_is_xml_with_a_bar_for_each_interval_and_the_full_line() -> None:
    points = (Point(100, Estimate(0.5, 0.05)), Point(1000, Estimate(0.8, 0.02)))
    svg = accuracy_chart([Curve("<a & b>", points, 0)], Estimate(0.95, 0.01), 900.0, 400.0, "Title")
    root = ElementTree.fromstring(svg)
    circles = [e for e in root.iter() if e.tag == "circle"]
    assert len(circles) == 2
    low, high = (float(c.attrib["cy"]) for c in circles)
    assert low > high
    bars = [e.attrib["d"] for e in root.iter() if re.fullmatch(r"M[\d.]+ [\d.]+V[\d.]+", e.attrib.get("d", ""))]
    tops = [list(map(float, re.findall(r"[\d.]+", bar)))[1:] for bar in bars]
    for circle, (top, bottom) in zip(circles, tops, strict=True):
        assert math.isclose((top + bottom) / 2, float(circle.attrib["cy"]), abs_tol=0.11)
    # Bars are in the ratio of the half widths.
    heights = [bottom - top for top, bottom in tops]
    assert math.isclose(heights[0] / heights[1], 2.5, rel_tol=0.05)
    texts = [e.text for e in root.iter("text")]
    assert "all of the data: 95.0" in texts
    assert "<a & b>" in texts


def test_sets_of_the_same_bytes_stand_side_by_side() -> None:
    point = (Point(640, Estimate(0.5, 0.01)),)
    svg = accuracy_chart([Curve(f"m{k}", point, 0) for k in range(4)], None, 900.0, 400.0, "")
    places = sorted({float(x) for x in re.findall(r'<circle cx="([\d.]+)"', svg)})
    assert len(places) == 4
    assert min(b - a for a, b in pairwise(places)) >= 6.9


@pytest.mark.parametrize("accuracy", [0.0, 0.1, 0.5, 1.0])
def test_one_set_or_equal_accuracies_still_make_a_chart(accuracy: float) -> None:
    points = (Point(640, Estimate(accuracy)),)
    svg = accuracy_chart([Curve("a", points, 0), Curve("b", points, 1)], Estimate(accuracy), 900.0, 400.0, "")
    (y,) = re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', svg)
    assert 30 < float(y) < 360


def test_nothing_to_draw_is_no_chart() -> None:
    assert accuracy_chart([], None, 900.0, 400.0, "") == ""


def test_colours_and_markers_differ_for_fifty_six_methods() -> None:
    pairs = {(Curve("", (), style).colour, Curve("", (), style).marker) for style in range(COLOURS * len(MARKERS))}
    assert len(pairs) == 56


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 400), min_size=1, max_size=15))
def test_names_never_overlap_and_stay_inside(heights: list[float]) -> None:
    placed = _spread(sorted(heights), 17.0, 0.0, 400.0)
    assert all(b - a >= 17 - 1e-9 for a, b in pairwise(placed))
    assert placed[-1] <= 400
    assert placed[0] >= -1e-9
    apart = sorted(heights)
    if all(b - a >= 17 for a, b in pairwise(apart)):
        assert placed == apart


def test_large_numbers_on_an_axis_are_read_at_a_glance():
    series = Series.of("sent", [2244, 93_540, 12_000_000], [{"mean": 0.5}, {"mean": 0.6}, {"mean": 0.7}])
    drawing = line_chart(Chart("bytes", "accuracy", (series,), log_x=True), 800.0, 300.0, "sent")
    assert [tick for tick in (">2244<", ">93,540<", ">1.2e+07<") if tick not in drawing] == []

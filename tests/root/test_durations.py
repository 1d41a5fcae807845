"""Spans of time and sizes, read and written."""

from __future__ import annotations

import pytest

from decoct.durations import parse_duration, show_bytes, show_duration
from decoct.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20min", 1200), ("1.5h", 5400), ("45", 45), (" 2 m ", 120), ("3.0", 3)]
)
def test_reading(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "0min", "-5s", "5 days", "1e3", "min"])
def test_what_is_no_duration(text):
    with pytest.raises(ConfigError, match=r"reading a time budget(.|\n)*such as '90s', '20min'"):
        parse_duration(text)


def test_writing():
    assert [show_duration(value) for value in (0.42, 42, 185, 7800)] == ["0.4s", "42s", "3min 05s", "2h 10min"]
    assert [show_bytes(value) for value in (812, 3140, 7_900_000, 2_500_000_000)] == [
        "812 B",
        "3.1 kB",
        "7.9 MB",
        "2.5 GB",
    ]

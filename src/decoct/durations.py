"""Reading and writing spans of time: "90s", "20min", "1.5h"."""

from __future__ import annotations

import re

from decoct.errors import ConfigError

_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds in `text`, such as "20min", "90s", "1.5h" or "45" (seconds). Raises `ConfigError`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    unit = match.group(2) or "s" if match else ""
    if match is None or unit not in _SECONDS or float(match.group(1)) == 0:
        raise ConfigError(
            "reading a time budget",
            received=repr(text),
            expected="a positive number with s, min or h, such as '90s', '20min' or '1.5h'",
            remedy="write the budget as '20min'",
        )
    return float(match.group(1)) * _SECONDS[unit]


def show_duration(seconds: float | int) -> str:
    """A short reading of `seconds`: 0.4s, 42s, 3min 05s, 2h 10min."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}min {rest:02d}s"
    return f"{minutes // 60}h {minutes % 60:02d}min"


def show_bytes(count: int) -> str:
    """A short reading of a number of bytes: 812 B, 3.1 kB, 7.9 MB."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"

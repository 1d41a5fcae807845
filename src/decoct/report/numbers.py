"""Numbers as the page writes them."""

from __future__ import annotations

from decoct.report.contents import Estimate


def estimate(value: Estimate, sign: bool = False, small: bool = False) -> str:
    """Mean in the weight of the cell, the interval quieter beside it."""
    mean, mark, half = value.shown(sign).partition(" ± ")
    if not mark:
        return mean
    return f"{mean} <small>± {half}</small>" if small else f'{mean} <span class="pm">± {half}</span>'


def count(ipc: float) -> str:
    shown = f"{ipc:.0f}" if abs(ipc - round(ipc)) < 0.05 else f"{ipc:.1f}"
    return f"{shown} row" if shown == "1" else f"{shown} rows"

"""Numbers as the page writes them."""

from __future__ import annotations

from html import escape

from decoct.report.contents import Estimate


def estimate(value: Estimate, sign: bool = False, small: bool = False) -> str:
    """Mean in the weight of the cell, the interval quieter beside it."""
    mean, mark, half = value.shown(sign).partition(" ± ")
    if not mark:
        return mean
    return f"{mean} <small>± {half}</small>" if small else f'{mean} <span class="pm">± {half}</span>'


def over(gain: Estimate | None, rival: str) -> str:
    """A gain with the rows that it is over, such as "+4.2 ± 1.1 over random + teacher"."""
    return "–" if gain is None else f'{estimate(gain, sign=True)} <span class="pm">over {escape(rival)}</span>'


def count(ipc: float) -> str:
    shown = f"{ipc:.0f}" if abs(ipc - round(ipc)) < 0.05 else f"{ipc:.1f}"
    return f"{shown} row" if shown == "1" else f"{shown} rows"

"""The sections of docs/results.md about seconds and memory of outer steps."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from record import RESULTS, machine

from decoct.durations import show_bytes


def cost_sections() -> list[str]:
    """Every objective beside its textbook, and memory against the inner steps; nothing without results."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / "cost").glob("*.json"))]
    lines = _objectives(found) if found else []
    for name, written in (("unroll_cost", _unroll), ("trajectory_cost", _trajectory)):
        path = RESULTS / f"{name}.json"
        lines += written(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []
    return lines


def _objectives(cells: list[dict[str, Any]]) -> list[str]:
    first = cells[0]
    commits = ", ".join(sorted({f"`{cell['commit']}`" for cell in cells}))
    lines = [
        "## One outer step of every objective", "",
        f"{first['classes']} classes, {first['ipc']} images of {' x '.join(map(str, first['shape']))} each, "
        f"{first['network']}, float32, {first['threads']} thread(s), median of {first['rounds']} steps, ours and the "
        "textbook of the same maths in turn in one process (`cost_textbooks.py`); memory from a process of its own for "
        f"each, beyond what it held before. {first['hardware']['processor']}, commits {commits}.", "",
        "| objective | ours | textbook | times faster | memory, ours | memory, textbook |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for cell in cells:
        seconds, memory = cell["median_seconds"], cell["step_bytes"]
        other = "textbook" in seconds
        lines.append(
            f"| {cell['objective']} | {seconds['ours']:.3f} s | {seconds['textbook']:.3f} s "
            f"| {seconds['textbook'] / seconds['ours']:.1f} | {show_bytes(memory['ours'])} "
            f"| {show_bytes(memory['textbook'])} |"
            if other
            else f"| {cell['objective']} | {seconds['ours']:.3f} s | | | {show_bytes(memory['ours'])} | |"
        )
    return [*lines, ""]


def _by_steps(kinds: dict[str, dict[str, Any]], seconds: str, peak: str, unit: float) -> list[str]:
    """Seconds and memory of every way, one column for each number of inner steps."""
    steps = list(next(iter(kinds.values())))
    lines = ["| way | " + " | ".join(f"{count} steps" for count in steps) + " |", "|---" * (len(steps) + 1) + "|"]
    for kind, cells in kinds.items():
        shown = [f"{cells[count][seconds]:.2f} s, {show_bytes(int(unit * cells[count][peak]))}" for count in steps]
        lines.append(f"| {kind} | " + " | ".join(shown) + " |")
    return [*lines, ""]


def _unroll(result: dict[str, Any]) -> list[str]:
    setting = result["setting"]
    kinds = {name: cells for name, cells in result.items() if isinstance(cells, dict) and "10" in cells}
    return [
        "## A gradient through many training steps", "",
        f"One outer step through T steps of {setting['optimizer']}, {setting['classes']} classes, {setting['ipc']} "
        f"image each, {setting['network']}, {result['threads']} thread(s), processor seconds and peak memory beyond "
        f"the start; `recompute` gives the gradient of `full`. {machine(result)}", "",
        *_by_steps(kinds, "median_processor_seconds", "peak_mb", 2**20),
    ]  # fmt: skip


def _trajectory(result: dict[str, Any]) -> list[str]:
    kinds = {
        name: {count: {**cell, "seconds": _middle(cell["seconds"])} for count, cell in cells.items()}
        for name, cells in result["cells"].items()
    }
    return [
        "## Trajectory matching against the inner steps", "",
        f"One outer step of MTT's loss, {result['rows']} images of 1 x 28 x 28, {result['network']}, "
        f"{result['threads']} thread(s); `recompute` is TESLA's memory with the gradient of `full`. "
        f"{machine(result)}", "",
        *_by_steps(kinds, "seconds", "peak_bytes", 1.0),
    ]  # fmt: skip


def _middle(seconds: float | list[float]) -> float:
    return median(seconds) if isinstance(seconds, list) else seconds

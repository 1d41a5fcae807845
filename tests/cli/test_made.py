"""What is said about a set that was just made."""

from __future__ import annotations

from typing import Any

from decoct.cli.made import sentence


def result(**provenance: Any) -> dict[str, Any]:
    size = {"images": 640, "labels": 10, "decoder": 0, "total": 650}
    return {
        "out": "runs/a", "rows": 10, "classes": 10, "bytes": size, "times_smaller": 12.5, "source": "digits",
        "next": "decoct evaluate runs/a", "provenance": provenance,
    }  # fmt: skip


def test_a_budget_that_training_on_real_data_has_eaten_is_told():
    told = sentence(result(steps_done=1, budget_seconds=180.0))
    assert "note: 3min 00s were enough for 1 step: training on the real data took the rest" in told
    assert "larger --budget" in told


def test_enough_steps_or_a_number_of_steps_are_not():
    assert "note:" not in sentence(result(steps_done=500, budget_seconds=180.0))
    assert "note:" not in sentence(result(steps_done=5, budget_seconds=None))
    assert "note:" not in sentence(result())

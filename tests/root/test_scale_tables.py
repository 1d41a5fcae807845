"""What the page of results says of selection at scale: no share where there is no lead, no more picks than compared."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("scale_tables")


def _cell(name: str, whole: float, sharded: float, chance: float) -> dict[str, Any]:
    ways = {"whole": whole, "sharded": sharded, "random": chance}
    seconds = {"processor_seconds": 1.0}
    return {"method": "k-center", "rows": 9, "ways": {way: {**seconds, name: value} for way, value in ways.items()}}


@pytest.mark.parametrize(
    ("name", "numbers", "kept"),
    [
        ("covering radius", (2.0, 3.0, 6.0), "75.0 %"),
        ("mean distance", (18.9, 18.0, 16.2), "whole is worse than random"),
        ("mean distance", (2.0, 3.0, 2.0), "whole is as random"),
        ("value", (6.0, 3.0, 2.0), "25.0 %"),
        ("value", (2.0, 3.0, 6.0), "whole is worse than random"),
    ],
)
def test_a_share_of_a_lead_is_told_where_there_is_one(
    tables: Any, name: str, numbers: tuple[float, float, float], kept: str
) -> None:
    assert tables._kept(_cell(name, *numbers), name) == kept


def test_as_many_picks_are_the_same_as_were_compared(tables: Any) -> None:
    runs = [{"textbooks": {"a": {"same_picks": 31, "of": 31}, "b": {"same_picks": 30, "of": 31}}}]
    result = {"k_center": runs, "facility_location": {"same_picks": {"a": 199, "b": 200}, "of": 200}}
    said = tables._same(result)
    assert "30 of the first 31 picks are the same in k-center (later ones were not compared)" in said
    assert "199 of 200 in facility location" in said

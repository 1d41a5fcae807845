"""Findings: intervals, numbers as text, and files that are not trusted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from decoct.analysis.finding import Chart, Finding, Series, estimate, shown
from decoct.errors import IntegrityError

TILE = "iVBORw0KGgoAAAA="


def made(**changes: Any) -> Finding:
    series = Series.of("a", (0, 1), [estimate([0.5, 0.7]), estimate([0.6])])
    fields: dict[str, Any] = {
        "name": "mixing", "sentence": "It is so.", "chart": Chart("n", "%", (series,), percent=True),
        "rows": ({"n": 0, "set": estimate([0.5, 0.7])}, {"n": 1, "set": None}), "percent": ("set",),
        "notes": ("note",), "further": (Chart("x", "y", (series,), names=("a", "b")),),
        "facts": {"seeds": [0, 1]}, "pictures": (("image 0", (TILE,)),),
    }  # fmt: skip
    return Finding(**{**fields, **changes})


def test_an_estimate_is_students_interval() -> None:
    found = estimate([0.5, 0.7])
    half = 12.706204736 * math.sqrt(0.02) / math.sqrt(2)
    assert found["mean"] == pytest.approx(0.6)
    assert found["high"] - found["mean"] == pytest.approx(half)  # type: ignore[operator]
    assert estimate([0.5]) == {"mean": 0.5, "low": None, "high": None, "runs": 1}


@pytest.mark.parametrize(
    ("value", "percent", "text"),
    [
        ({"mean": 0.841, "low": 0.837, "high": 0.845}, True, "84.1 ± 0.4"),
        ({"mean": 0.5, "low": None, "high": None}, True, "50.0"),
        ({"mean": -0.012, "low": -0.014, "high": -0.010}, True, "−1.2 ± 0.2"),
        ({"mean": 4.0, "low": 2.0, "high": 9.0}, False, "4.00 (2.00 to 9.00)"),
    ],
)
def test_estimates_as_text(value: dict[str, Any], percent: bool, text: str) -> None:
    assert shown(value, percent) == text


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    found = made()
    found.save(tmp_path / "mixing.json")
    again = Finding.from_json(json.loads((tmp_path / "mixing.json").read_text()))
    assert again.to_json() == found.to_json()
    assert again.table() == found.table()
    assert "set, %" in found.table()
    assert found.table().startswith("It is so.")


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value.pop("sentence"),
        lambda value: value.update(kind="scorecard"),
        lambda value: value.update(name="../x"),
        lambda value: value.update(sentence=3),
        lambda value: value["chart"]["series"][0].update(y=[0.1]),
        lambda value: value["chart"]["series"][0].update(y=["<b>", 1]),
        lambda value: value["rows"].append({"n": {"mean": "<script>", "low": None, "high": None}}),
        lambda value: value["rows"].append({"n": [1]}),
        lambda value: value["pictures"].append(["x", ['" onerror="alert(1)']]),
        lambda value: value["pictures"].append(["x", ["PHN2Zz4="]]),
        lambda value: value.update(chart=None),
        lambda value: value["further"][0].update(x_label=3),
        lambda value: value["further"][0].update(names=[3]),
    ],
)
def test_an_altered_file_is_refused(damage: Any) -> None:
    value = made().to_json()
    damage(value)
    with pytest.raises(IntegrityError, match=r"(?s)reading a finding.*analyse again"):
        Finding.from_json(value)

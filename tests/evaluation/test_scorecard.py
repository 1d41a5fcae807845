"""Scorecards: round trip, strict reading, the table."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from decoct.errors import IntegrityError
from decoct.evaluation.scorecard import Entry, Scorecard, entry_from_json, entry_to_json


def entry(name: str = "dm", **changes: Any) -> Entry:
    values: dict[str, Any] = {
        "name": name, "label": name, "kind": "judged", "network": "convnet3", "image_bytes": 640, "label_bytes": 10,
        "decoder_bytes": 0, "rows": 10, "distinct": 10, "samples_seen": 1000, "label_kind": "hard", "seeds": (0, 1),
        "last": (0.5, 0.7), "selected": (0.6, 0.6), "val": (0.55, 0.65), "seconds": 1.25, "peak_memory": 10**9,
    }  # fmt: skip
    return Entry(**(values | changes))


CARD = Scorecard(
    (entry(), entry("full", kind="baseline", label="full data", rows=1000, seeds=(0,), last=(0.95,), selected=(0.94,),
                    val=(0.9,), notes=("2 passes",))),
    {"name": "quick", "hash": "0123456789abcdef"},
    {"source": "toy", "test": 30},
    {"device": "cpu"},
    ("a note",),
)  # fmt: skip


def test_mean_and_interval_are_fractions_of_the_last_epoch() -> None:
    one = entry()
    assert one.mean == pytest.approx(0.6)
    assert one.interval == pytest.approx((0.6 - 1.27062, 0.6 + 1.27062), abs=1e-4)
    assert one.mean_selected == 0.6
    assert one.interval_selected == (0.6, 0.6)
    assert one.nbytes == 650
    assert CARD.entries[1].interval is None


def test_json_round_trip(tmp_path: Path) -> None:
    CARD.save(tmp_path / "card.json")
    assert Scorecard.load(tmp_path / "card.json") == CARD
    written = json.loads((tmp_path / "card.json").read_text())
    assert written["entries"][0]["mean"] == pytest.approx(0.6)
    assert written["entries"][1]["interval"] is None


def _broken(change: str) -> Any:
    value = deepcopy(CARD.to_json())
    first = value["entries"][0]
    match change:
        case "kind":
            value["kind"] = "other"
        case "schema":
            value["schema_version"] = 99
        case "missing":
            del value["entries"]
        case "extra":
            first["surprise"] = 1
        case "percent":
            first["last"] = [50.0, 70.0]
        case "type":
            first["rows"] = "10"
        case "bool":
            first["rows"] = True
        case "lengths":
            first["val"] = [0.5]
        case "entry kind":
            first["kind"] = "winner"
        case "list":
            return [value]
    return value


@pytest.mark.parametrize(
    "change",
    ["kind", "schema", "missing", "extra", "percent", "type", "bool", "lengths", "entry kind", "list"],
)
def test_anything_else_is_refused(change: str) -> None:
    with pytest.raises(IntegrityError, match="judge again"):
        Scorecard.from_json(_broken(change))


def test_missing_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="reading"):
        Scorecard.load(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"kind": "score')
    with pytest.raises(IntegrityError, match="JSON"):
        Scorecard.load(tmp_path / "half.json")


def test_entry_round_trip() -> None:
    assert entry_from_json(entry_to_json(entry(notes=("x",)))) == entry(notes=("x",))


def test_table_is_aligned_and_in_percent() -> None:
    lines = CARD.table().splitlines()
    assert lines[0].split()[:4] == ["name", "network", "rows", "bytes"]
    assert "60.0 ± 127.1" in lines[2]
    assert "650 B" in lines[2]
    assert lines[3].startswith("  full data")
    assert lines[2].index("60.0 ±") + len("60.0 ± 127.1") == lines[3].index("95.0") + len("95.0")
    assert "protocol quick (0123456789ab); 1 or 2 runs each" in lines[4]
    assert lines[-2:] == ["note: a note", "note: full data: 2 passes"]

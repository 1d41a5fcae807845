"""The benchmark of bias: any maker, kind and severity has its cells, its folder and its results; nothing is run."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toys import blob_images

from decoct.errors import UnknownNameError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("bias")


def test_selectors_that_cannot_draw_by_weights_have_the_cells_without(bench: Any) -> None:
    options = bench.Options(makers=("ncfm", "random", "k-center"), ipc=(10,))
    cells = list(bench.cells(options))
    found = {maker: [c.weights for c in cells if c.maker == maker] for maker in ("full", *options.makers)}
    every = [*bench.WEIGHTS, "unbiased"]
    assert found == {"full": every, "ncfm": every, "random": every, "k-center": ["none", "unbiased"]}


def test_every_kind_and_severity_has_a_place_of_its_own_and_the_first_keeps_its_name(bench: Any) -> None:
    options = bench.Options(work=Path("w"), severities=(1, 4))
    assert [(bench.Place(options, s).mark, bench.Place(options, s).work) for s in options.severities] == [
        ("-coloured-1", Path("w/coloured-1")), ("", Path("w")),
    ]  # fmt: skip
    other = bench.Place(replace(options, kind="corrupted"), 4)
    assert (other.mark, other.settings()["kind"]) == ("-corrupted-4", "corrupted")


def test_sources_of_a_kind_are_made_with_and_without_bias(bench: Any, tmp_path: Path) -> None:
    data = blob_images(classes=3, per_class=40, shape=(3, 16, 16))
    options = bench.Options(work=tmp_path, kind="corrupted", rows=60, correlation=0.9, severities=(2,))
    found = bench.Place(options, 2).sources(data, 0)
    assert [found[fair].facts["kind"] for fair in (False, True)] == ["corrupted"] * 2
    assert [found[fair].facts["severity"] for fair in (False, True)] == [2, 2]
    assert found[False].facts["correlation"] == 0.9
    assert found[True].facts["correlation"] == pytest.approx(1 / 3), "each of three attributes as often as any other"
    assert (tmp_path / "corrupted-2" / "0" / "biased" / "bias.json").is_file()


def test_other_makers_get_their_own_recipe_and_unknown_ones_are_refused(bench: Any, tmp_path: Path) -> None:
    data = blob_images(classes=3, per_class=40, shape=(3, 16, 16))
    source = bench.Place(bench.Options(work=tmp_path, rows=60), 4).sources(data, 0)[False]
    for maker, objective in (("dm", "Distribution"), ("ncfm", "Characteristic")):
        recipe = bench.recipe_of(maker, source, 10)
        assert (type(recipe.objective).__name__, recipe.network) == (objective, bench.NETWORK)
    assert bench.recipe_of("dm+noise", source, 10).storage.init_from == "noise"
    with pytest.raises(UnknownNameError, match="did you mean 'dm'"):
        bench.main(bench.Options(makers=("dmm",), source="npz:nowhere.npz"))


def test_lines_of_other_cells_stay_where_the_settings_are_the_same_and_the_figure_is_drawn(
    bench: Any, tmp_path: Path
) -> None:
    known = json.loads((ROOT / "benchmarks" / "results" / "bias.json").read_text())
    path = tmp_path / "bias.json"
    path.write_text(json.dumps(known))
    settings = {"name": "MNIST", "kind": "coloured", "rows": known["settings"]["rows"]}
    line = {"maker": "ncfm", "weights": "none", "ipc": 10, "test": [1.0, None]}
    again = {**known["lines"][-1], "test": [50.0, None]}
    merged = bench.with_kept([line, again], settings, path)
    assert len(merged) == len(known["lines"]) + 1
    assert line in merged
    assert again in merged
    assert known["lines"][-1] not in merged
    assert merged[0]["maker"] == "full"
    assert bench.with_kept([line], {**settings, "rows": 7}, path) == [line]
    bench.figure(known["lines"], tmp_path / "bias.png", 5000)
    assert (tmp_path / "bias.png").read_bytes().startswith(b"\x89PNG")

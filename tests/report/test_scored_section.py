"""Rows of scored folders in a report: what is shown, that it is safe, that it fits, and that damage is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from report_toys import toy_contents
from test_page import HOSTILE, Reader
from toys import blob_features, blob_images

from decoct.data.dataset import Dataset
from decoct.errors import IntegrityError
from decoct.report.collect import contents_of
from decoct.report.examples import scored_rows, write_examples
from decoct.report.find import results_in
from decoct.report.gallery import data_address
from decoct.report.html import write_report
from decoct.report.page import page
from decoct.report.piles import PILES, piles_of
from decoct.report.scored_rows import FILE_NAME, PNG, ScoredRows
from decoct.report.scored_section import scored_section
from decoct.selection.features import features

DATA = blob_images(classes=3, per_class=20, shape=(3, 6, 8))


def scores_of(data: Dataset) -> dict[str, torch.Tensor]:
    rows = len(data.train)
    return {name: torch.randn(rows, generator=torch.Generator().manual_seed(seed)) for seed, name in
            enumerate(("el2n", "variability", "aum"))}  # fmt: skip


def found_in(data: Dataset, picture: bytes | None = None) -> ScoredRows:
    return scored_rows(data, piles_of(data, scores_of(data), features(data, "pixels")), picture)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "scored"
    write_examples(path / "rows.html", DATA, scores_of(DATA), features(DATA, "pixels"), picture=PNG + b"map")
    return path


def test_a_scored_folder_is_shown_with_every_gallery_and_what_it_is(folder: Path) -> None:
    reader = Reader(write_report(folder / "report.html", results_in(folder)).read_text(encoding="utf-8"))
    words, found = "".join(reader.words), found_in(DATA, PNG + b"map")
    assert "What stands out among 60 training rows" in words
    assert "scored: 60 training rows of" in words
    assert [pile.name for pile in found.piles] == [*PILES, "redundant"]
    for pile in found.piles:
        assert pile.line.endswith(".")
        assert pile.line in words
        assert all(f"{item.label}{' = '.join(item.ids)}{item.note}" in words for item in pile.items)
    pictures = [one["src"] for one in reader.all("img")]
    kept = [png for pile in found.piles for item in pile.items for png in item.pngs]
    assert pictures == [data_address(png) for png in (PNG + b"map", *kept)]
    assert all(one["alt"] for one in reader.all("img"))


def test_a_page_without_judged_sets_has_no_empty_tables(folder: Path) -> None:
    html = page(contents_of(results_in(folder)))
    assert "Rows that stand out" in html
    assert '<h2 id="accuracy">' not in html
    assert '<h2 id="cost">' not in html
    assert '<h2 id="accuracy">' in page(toy_contents())


def test_the_file_holds_what_the_page_shows(folder: Path) -> None:
    assert ScoredRows.load(folder / FILE_NAME) == found_in(DATA, PNG + b"map")


def test_it_stands_beside_sets_and_other_scored_folders(folder: Path) -> None:
    (one,) = results_in(folder)
    contents = replace(toy_contents(), scored=contents_of([one, replace(one, name="again")]).scored)
    reader = Reader(page(contents))
    words = "".join(reader.words)
    assert "trains a network to 95.2 %" in words
    assert "Real beside compact" in words
    assert words.count("Most ambiguous") == 2
    ids = [own["id"] for _, own in reader.elements if "id" in own]
    assert len(ids) == len(set(ids))


def test_tables_are_listed_without_pictures() -> None:
    text = scored_section([("scored", found_in(blob_features(classes=2, per_class=8)))], 10_000)
    assert "<img" not in text
    assert "train-15" in text


def test_many_large_pictures_fit_the_page_and_it_says_how_many_are_left_out() -> None:
    noise = blob_images(classes=2, per_class=40, shape=(3, 160, 160))
    x = np.random.default_rng(0).integers(0, 255, noise.train.x.shape, dtype=np.uint8)
    found = found_in(replace(noise, train=replace(noise.train, x=x)), PNG + bytes(60_000))
    text = page(replace(toy_contents(), scored=tuple((f"scored {k}", found) for k in range(3))))
    assert len(text) < 3_000_000
    words = "".join(Reader(text).words)
    assert "more stand in rows.html of that folder" in words
    assert len(page(replace(toy_contents(), scored=(("scored", found),) * 60))) < 3_000_000


def test_names_from_outside_are_escaped() -> None:
    hostile = replace(DATA, spec=replace(DATA.spec, class_names=(HOSTILE, "b", "c"), source=HOSTILE))
    text = page(contents_of([replace(results_of(hostile), name=HOSTILE)]))
    assert Reader(text).all("script") == []
    assert "<script" not in text
    assert HOSTILE in "".join(Reader(text).words)


def results_of(data: Dataset) -> Any:
    from decoct.report.judged import Judged

    return Judged("scored", scored=found_in(data))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "comparison"}, {"schema": 2}, {"piles": None}, {"map": "%"}, {"map": "PHN2Zz4="}, {"rows": "many"},
        {"piles": [{"name": "hardest", "title": "Hardest", "line": ".", "items": [{"class": "a", "ids": "ab"}]}]},
        {"piles": [{"name": "a", "title": "", "line": "",
                    "items": [{"class": "a", "ids": ["0"], "note": "", "pngs": ["", ""]}]}]},
    ],
)  # fmt: skip
def test_a_changed_file_is_refused(folder: Path, change: dict[str, Any]) -> None:
    value = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    (folder / FILE_NAME).write_text(json.dumps({**value, **change}), encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"(?s)reading .*rows.json.*decoct score again with the same folder"):
        results_in(folder)

"""The page of rows to look at: which rows, in which order, and that it is a page."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from toys import blob_features, blob_images

import decoct
from decoct.errors import MismatchError
from decoct.report import examples, piles
from decoct.report.examples import examples_page, write_examples
from decoct.report.piles import PILES, piles_of
from decoct.selection.features import features

DATA = blob_images(classes=3, per_class=20, shape=(3, 6, 8))
SCORES = {name: torch.randn(60, generator=torch.Generator().manual_seed(seed)) for seed, name in
          enumerate(("el2n", "variability", "aum"))}  # fmt: skip


def test_each_pile_holds_the_rows_at_its_end_of_the_score():
    found = {pile.name: pile for pile in piles_of(DATA, SCORES)}
    assert list(found) == list(PILES)
    for name, (score, largest, _, _) in PILES.items():
        order = sorted(range(60), key=lambda row: float(SCORES[score][row]), reverse=largest)
        if name != "mislabelled":
            # Three classes: at most eight rows of each.
            order = [row for at, row in enumerate(order)
                     if sum(DATA.train.y[other] == DATA.train.y[row] for other in order[:at]) < 8]  # fmt: skip
        assert list(found[name].rows) == order[: piles.EACH]
        assert found[name].notes[0] == f"{score} {float(SCORES[score][order[0]]):.3g}"


def test_the_redundant_pairs_are_the_nearest_of_a_class_each_once(monkeypatch):
    monkeypatch.setattr(piles, "BLOCK", 7)
    table = features(DATA, "pixels")
    pile = piles_of(DATA, {}, table)[0]
    gaps = torch.cdist(table, table)
    labels = DATA.train.labels()
    pairs = sorted((float(gaps[a, b]), a, b) for a in range(60) for b in range(a + 1, 60) if labels[a] == labels[b])
    first = pairs[0]
    assert (pile.rows[0], pile.twins[0]) == first[1:]
    shown = [tuple(sorted(pair)) for pair in zip(pile.rows, pile.twins, strict=True)]
    assert len(set(shown)) == len(shown)
    assert all(labels[a] == labels[b] for a, b in shown)
    # Every shown row has no nearer row of its class than its twin, seen from one side or the other.
    own = gaps + 1e9 * (labels[:, None] != labels[None]) + 1e9 * torch.eye(60)
    assert all(own[a].argmin() == b or own[b].argmin() == a for a, b in shown)


def test_many_rows_are_thinned_and_the_page_says_so(monkeypatch):
    monkeypatch.setattr(piles, "COMPARED", 30)
    pile = piles_of(DATA, {}, features(DATA, "pixels"))[0]
    assert "every 2th row" in pile.line
    assert pile.rows


class Links(HTMLParser):
    """Ids, links inside the page and pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.pictures: list[dict[str, str | None]] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        self.pictures += [found] if tag == "img" else []


def test_the_page_stands_alone_and_every_link_leads_somewhere(tmp_path):
    map_png = examples.montage(np.zeros((1, 8, 8, 3), np.uint8), examples.Quality(8, 0, 1))
    path = write_examples(tmp_path / "p.html", DATA, SCORES, features(DATA, "pixels"), picture=map_png)
    text = path.read_text(encoding="utf-8")
    seen = Links()
    seen.feed(text)
    assert seen.links == ["#hardest", "#easiest", "#ambiguous", "#mislabelled", "#redundant"]
    assert {link[1:] for link in seen.links} <= set(seen.ids)
    assert all(str(one["src"]).startswith("data:image/png;base64,") and one["alt"] for one in seen.pictures)
    assert len(seen.pictures) == 1 + 4 * 24 + 2 * 24
    assert not re.search(r"https?://", text)


def test_names_from_outside_are_escaped_and_large_pictures_fit_the_page():
    spec = replace(DATA.spec, class_names=("<b>a", "b&", "c"), source='<img src="x">')
    text = examples_page(replace(DATA, spec=spec), piles_of(DATA, SCORES))
    assert "<b>a" not in text
    assert '<img src="x">' not in text
    rng = np.random.default_rng(0)
    noise = blob_images(classes=2, per_class=40, shape=(3, 160, 160))
    noisy = replace(noise, train=replace(noise.train, x=rng.integers(0, 255, noise.train.x.shape, dtype=np.uint8)))
    some = {name: torch.randn(80) for name in SCORES}
    assert len(examples_page(noisy, piles_of(noisy, some))) < 3_000_000


def test_a_table_of_features_is_listed_without_pictures():
    data = blob_features(classes=2, per_class=8)
    text = examples_page(data, piles_of(data, {"aum": torch.arange(16.0)}))
    assert "<img" not in text
    assert "train-15" in text
    assert "aum 15" in text


def test_scores_of_other_rows_are_refused():
    with pytest.raises(MismatchError, match="59 values of aum"):
        piles_of(DATA, {"aum": torch.zeros(59)})


def test_rows_with_wrong_labels_head_their_pile():
    data = blob_images(classes=3, per_class=40, shape=(1, 8, 8), seed=3)
    wrong = [4, 31, 77]
    labels = data.train.y.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    noisy = replace(data, train=replace(data.train, y=labels))
    table, _ = decoct.score(noisy, network="mlp-w16", epochs=6, device="cpu")
    pile = next(pile for pile in piles_of(noisy, table.columns) if pile.name == "mislabelled")
    assert set(pile.rows[:3]) == set(wrong)

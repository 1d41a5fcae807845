"""Which of equal rows are chosen: by lot, whatever the order of the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import blob_features

from decoct.selection.by_score import Easiest, Hardest, Middle
from decoct.selection.coverage import Coverage
from decoct.selection.driver import select
from decoct.selection.dynamic_uncertainty import DynamicUncertainty
from decoct.selection.lots import lots, numbered_lots


def test_every_row_has_a_place_and_keeps_its_lot_when_rows_move():
    ids = np.array(["a", "b", "c/1.png", "\udcff"])
    drawn = lots(ids, 3)
    assert sorted(drawn.tolist()) == [0, 1, 2, 3]
    assert lots(ids[::-1], 3).tolist() == drawn.tolist()[::-1]
    assert any(lots(ids, seed).tolist() != drawn.tolist() for seed in range(5))


@pytest.mark.parametrize("selector", [Hardest(), Easiest(), Middle(), Coverage(strata=3), DynamicUncertainty()])
def test_which_of_equals_are_taken_does_not_follow_from_the_order_of_the_file(selector):
    data = blob_features(classes=2, per_class=40)
    scores = (torch.arange(80) // 27).float()[:, None]
    first = select(data, selector, count=20, features=scores, seed=3)
    mixed = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    moved = replace(data, train=data.train.take(mixed))
    second = select(moved, selector, count=20, features=scores[mixed], seed=3)
    assert first.ids.tolist() == second.ids.tolist()
    assert torch.equal(mixed[second.indices], first.indices)


def test_equals_are_drawn_by_the_seed():
    data = blob_features(classes=2, per_class=40)
    scores = torch.ones(80, 1)
    scores[-2:] = 2.0
    chosen = [select(data, Easiest(), count=20, features=scores, seed=seed) for seed in (0, 1, 0)]
    assert sorted(chosen[0].indices.tolist()) != list(range(20)), "not the first rows of the file"
    assert chosen[0].ids.tolist() != chosen[1].ids.tolist()
    assert chosen[0].ids.tolist() == chosen[2].ids.tolist()


def test_rows_without_names_have_lots_of_their_own():
    drawn = numbered_lots(np.arange(1000), 3)
    assert len(set(drawn.tolist())) == 1000
    assert numbered_lots(np.array([7, 500]), 3).tolist() == drawn[[7, 500]].tolist()
    assert numbered_lots(np.arange(1000), 4).argsort().tolist() != drawn.argsort().tolist()
    # Neither the order of the numbers nor its reverse.
    assert 400 < int((np.diff(drawn.astype(float)) > 0).sum()) < 600

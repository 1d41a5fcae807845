from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoct.data.splits import cut

BOTH = {"val": 0.1, "test": 0.1}


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(2, 60), min_size=2, max_size=12), seed=st.integers(0, 5))
def test_parts_are_disjoint_cover_everything_and_keep_every_class(counts, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = cut(labels, len(counts), BOTH, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(len(labels)))
    assert all(len(own) > 0 for own in rows.values())
    assert all((np.diff(own) > 0).all() for own in rows.values())
    shares = {part: np.bincount(labels[own], minlength=len(counts)) for part, own in rows.items()}
    assert (shares["train"] >= 1).all()
    for c, count in enumerate(counts):
        if count >= 3:
            assert shares["val"][c] == shares["test"][c] == max(1, round(0.1 * count))


def test_the_rows_of_one_class_do_not_move_those_of_another():
    labels = np.repeat([0, 1], [30, 20])
    longer = np.concatenate([labels, np.full(17, 2)])
    first, second = cut(labels, 2, BOTH, 3), cut(longer, 3, BOTH, 3)
    np.testing.assert_array_equal(first["val"], second["val"][second["val"] < 50])


@pytest.mark.parametrize("name", ["val", "test"])
def test_one_missing_part_is_cut_alone(name):
    rows = cut(np.arange(100) % 4, 4, {name: 0.2}, 0)
    assert {part: len(own) for part, own in rows.items()} == {name: 20, "train": 80}


def test_classes_of_two_take_turns():
    rows = cut(np.repeat(np.arange(4), 2), 4, BOTH, 0)
    assert {part: len(own) for part, own in rows.items()} == {"val": 2, "test": 2, "train": 4}


def test_seeds_differ():
    labels = np.arange(200) % 2
    assert cut(labels, 2, BOTH, 0)["val"].tolist() != cut(labels, 2, BOTH, 1)["val"].tolist()

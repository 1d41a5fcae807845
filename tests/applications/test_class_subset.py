"""Some classes of a data set, and sets of them in the classes of the whole."""

from __future__ import annotations

import pytest
import torch
from toys import blob_images

import decoct
from decoct.applications.class_subset import only_classes, real_rows, rows_of_set, together
from decoct.errors import ConfigError, DataError


def test_rows_labels_and_names_are_those_of_the_chosen_classes_in_their_order():
    data = blob_images(classes=4, per_class=5)
    part = only_classes(data, [3, 1])
    assert part.spec.class_names == ("class 3", "class 1")
    assert len(part.train) == 10
    old = {row: int(label) for row, label in zip(data.train.ids, data.train.y, strict=True)}
    assert all(old[row] == (3, 1)[label] for row, label in zip(part.train.ids, part.train.y, strict=True))
    assert part.spec.fingerprint != only_classes(data, [1, 3]).spec.fingerprint
    fewer = only_classes(data.with_train(slice(0, 10)), [3, 1])
    assert fewer.spec.fingerprint != part.spec.fingerprint, "runs of other rows are other runs"


def test_a_set_comes_back_in_the_classes_of_the_whole():
    data = blob_images(classes=4, per_class=5)
    core = decoct.select(only_classes(data, [3, 1]), "random", ipc=2)
    material = rows_of_set(core, [3, 1], 4)
    assert material.targets.sum(0).tolist() == [0, 2, 0, 2]
    both = together([material, real_rows(data, torch.tensor([0, 1, 2]))])
    assert both.targets.sum(0).tolist() == [1, 3, 1, 2]
    assert both.inputs.shape == (7, *data.spec.shape)
    ids = dict(zip(data.train.ids, range(len(data.train)), strict=True))
    same = data.inputs(data.train, torch.tensor([ids[one] for one in core.ids]))
    assert torch.equal(material.inputs, same)


def test_real_rows_count_by_the_weights_of_the_data():
    data = blob_images(classes=2, per_class=5)
    rows = torch.tensor([4, 0, 7])
    assert real_rows(data, rows).weights.tolist() == [1, 1, 1]
    heavy = data.with_weights(torch.arange(1, 11))
    assert real_rows(heavy, rows).weights.tolist() == pytest.approx([5 / 5.5, 1 / 5.5, 8 / 5.5])


def test_a_class_that_is_missing_twice_or_unknown_is_refused():
    data = blob_images(classes=3, per_class=4)
    for classes in ([], [0, 0], [0, 3], [-1]):
        with pytest.raises(ConfigError, match="different numbers from 0 to 2"):
            only_classes(data, classes)
    without = data.with_train(torch.nonzero(data.train.labels() != 2).flatten())
    with pytest.raises(DataError, match=r"no training rows of 'class 2'(.|\n)*leave that class out"):
        only_classes(without, [0, 2])


def test_scores_cannot_stand_beside_classes(monkeypatch):
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)
    data = only_classes(blob_images(classes=3, per_class=6), [0, 2])
    small = decoct.distill(data, "ridge", ipc=2, steps=1, network="convnet2-w4", device="cpu")
    with pytest.raises(ConfigError, match=r"scores(.|\n)*such as dm"):
        rows_of_set(small, [0, 2], 3)
    with pytest.raises(ConfigError, match="no set"):
        together([])

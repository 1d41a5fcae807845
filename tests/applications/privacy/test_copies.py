"""Copies: planted ones are flagged, fresh real rows are not more often than the level says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import blob_features, blob_images

import decoct
from decoct.analysis.finding import Finding
from decoct.applications.privacy.copies import copies, copies_finding, nearest_rows
from decoct.data.dataset import Split
from decoct.errors import ConfigError, DataError, MismatchError


def toy():
    return blob_images(classes=3, per_class=400)


def fresh(data, split: Split):
    """A coreset that holds rows which were never trained on."""
    core = decoct.select(data, "random", count=len(split))
    return replace(core, raw=split.raw(), classes=split.labels())


def test_every_row_of_a_coreset_is_a_copy_of_itself():
    data = toy()
    core = decoct.select(data, "random", ipc=5)
    found = copies(core, data)
    assert bool(found.flagged.all())
    assert float(found.distance.max()) < 1e-6
    assert found.ids == tuple(core.ids)
    body = found.to_json()
    assert body["flagged"] == 15
    first = {"image": 0, "train_id": core.ids[0], "distance": pytest.approx(0.0, abs=1e-6)}
    assert body["pairs"][0] == first


def test_a_copy_with_little_noise_is_flagged_and_fresh_rows_are_as_often_as_the_level_says():
    data = toy()
    core = decoct.select(data, "random", ipc=5)
    noise = np.random.default_rng(0).integers(-3, 4, core.raw.shape)
    near = replace(core, raw=(core.raw.int() + torch.from_numpy(noise)).clamp(0, 255).to(torch.uint8))
    assert int(copies(near, data).flagged.sum()) == 15
    honest = copies(fresh(data, data.test), data, level=0.05)
    assert honest.expected == pytest.approx(15)
    assert int(honest.flagged.sum()) < 30
    assert float(honest.p_value.mean()) == pytest.approx(0.5, abs=0.1), "p-values of fresh rows are even"


def test_distances_are_exact_also_where_rows_are_equal():
    rows, others = torch.rand(7, 12), torch.rand(40, 12)
    rows[3] = others[11]
    distance, nearest = nearest_rows(rows, others)
    every = (rows[:, None] - others).square().sum(2).sqrt()
    assert torch.allclose(distance, every.min(1).values)
    assert nearest.tolist() == every.argmin(1).tolist()
    assert float(distance[3]) == 0


def test_rows_become_numbers_a_block_at_a_time_and_the_first_of_equals_is_the_nearest(monkeypatch):
    """Memory of blocks: the training split is never a float copy as a whole."""
    monkeypatch.setattr("decoct.applications.privacy.copies.BLOCK", 8)
    raw, sizes = torch.randint(0, 256, (50, 12), dtype=torch.uint8), []
    raw[41] = raw[9]

    def values(part):
        sizes.append(len(part))
        return part.float() / 255

    distance, nearest = nearest_rows(raw[[9, *range(20)]], raw, of_rows=values, of_others=values)
    assert nearest.tolist() == [9, *range(20)]
    assert float(distance.abs().max()) == 0
    assert max(sizes) == 8
    rows = torch.rand(20, 12)
    every = (rows[:, None] - raw.float() / 255).square().sum(2).sqrt()
    assert nearest_rows(rows, raw, of_others=values)[1].tolist() == every.argmin(1).tolist()


def test_a_float_copy_of_the_training_split_is_never_made(monkeypatch):
    monkeypatch.setattr("decoct.applications.privacy.copies.BLOCK", 64)
    data, largest, plain = toy(), [], torch.Tensor.float
    core = decoct.select(data, "random", ipc=5)

    def watched(tensor):
        largest.append(len(tensor))
        return plain(tensor)

    monkeypatch.setattr(torch.Tensor, "float", watched)
    copies(core, data)
    assert max(largest) <= 64


def test_features_have_copies_too():
    data = blob_features(classes=3, per_class=100)
    assert bool(copies(decoct.select(data, "random", ipc=2), data, level=0.05).flagged.all())


def test_the_finding_has_a_line_for_every_set():
    data = toy()
    core = decoct.select(data, "random", ipc=5)
    found = {"kept": copies(core, data), "fresh": copies(fresh(data, data.test), data)}
    told = Finding.from_json(copies_finding(found).to_json())
    assert told.sentence.startswith("Copies of training rows: 15 of 15 images of kept (0.15 expected of fresh rows), ")
    assert next((row["set"], row["images"], row["flagged"]) for row in told.rows) == ("kept", 15, 15)
    assert told.chart.series[0].y[0] == 1.0
    assert told.chart.series[1].y == (0.01, 0.01)


def test_sets_of_other_data_and_too_few_held_out_rows_are_refused():
    data = toy()
    core = decoct.select(data, "random", ipc=1)
    with pytest.raises(MismatchError, match="looking for copies"):
        copies(core, blob_images(classes=3, per_class=400, seed=1))
    with pytest.raises(ConfigError, match=r"300 held-out rows and a level of 0.001(.|\n)*larger level"):
        copies(core, data, level=0.001)
    with pytest.raises(DataError, match="0 held-out rows"):
        copies(core, data, held_out=data.val.take(np.arange(0)))

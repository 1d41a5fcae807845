"""Bases at work: queries of a run and of a finished set, and the bytes of the published preset."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import blob_features, blob_images

import decoct
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.table import resolve
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.bases import Bases
from decoct.errors import ConfigError
from decoct.streams import Streams


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)


@pytest.mark.parametrize("ipc", [1, 10, 50])
@pytest.mark.parametrize(
    ("shape", "classes"), [((3, 32, 32), 10), ((3, 32, 32), 100), ((1, 28, 28), 10), ((3, 64, 64), 200)]
)
def test_the_published_preset_uses_its_bytes_at_every_size(shape, classes, ipc):
    spec = replace(blob_images(2, 1, shape).spec, class_names=tuple(map(str, range(classes))))
    storage = resolve("rtp", Task(spec, ipc, "paper")).storage
    assert isinstance(storage, Bases)
    problem = Problem(blob_images(classes, 1, shape), ipc, "convnet2-w4", "cpu", "", 0.0)
    count, rows = storage.plan(problem)
    base = shape[0] * (shape[1] // 2) * (shape[2] // 2)
    spent = count * (base + 8) + 8 * shape[0] + count * classes * rows
    assert 0.9 < spent / (ipc * classes * spec.row_bytes) <= 1
    assert count == min(16 * ipc, base), "16 at one image a class, as in the README"


def test_a_query_of_one_class_is_its_rows_and_mixtures_mix():
    """`x_i = y^T A_i M` with `A_i` the i-th row of every class."""
    problem, storage = Problem(blob_images(), 2, "convnet2-w4", "cpu", "", 0.0), Bases()
    tensors = storage.init(problem, Streams(0))
    rows, classes = storage.decode(tensors), storage.classes(problem)
    for label in range(3):
        torch.testing.assert_close(storage.query(tensors, torch.eye(3)[label]), rows[classes == label])
    vector = torch.tensor([0.2, -1.0, 3.0])
    mixed = sum(vector[label] * rows[classes == label] for label in range(3))
    torch.testing.assert_close(storage.query(tensors, vector), mixed, atol=1e-4, rtol=1e-4)
    with pytest.raises(ConfigError, match="one entry for each class"):
        storage.query(tensors, torch.ones(4))


@pytest.mark.parametrize("shape", [(3, 8, 6), (12,)])
@pytest.mark.parametrize("bits", [8, 32])
def test_a_finished_set_that_was_saved_and_loaded_answers_any_query(shape, bits, tmp_path):
    """Stored coefficients are numbers of 8 bits with scales, and the frame is gone."""
    data = blob_images(shape=shape) if len(shape) == 3 else blob_features(width=12)
    point = Recipe(
        Bases(bits=bits, bits_coefficients=bits, downsample=2), Distribution(real_per_class=8), Hard(), steps=1
    )
    network = "convnet2-w4" if len(shape) == 3 else "mlp-w8"
    made = decoct.distill(data, point, ipc=8, network=network, device="cpu", out=tmp_path / "run")
    small = decoct.load(tmp_path / "run")
    assert isinstance(small, decoct.DistilledSet)
    rows = small.decode()
    vector = torch.tensor([0.2, -1.0, 3.0])
    for label in range(3):
        torch.testing.assert_close(small.query(torch.eye(3)[label]), rows[small.classes == label])
    mixed = sum(vector[label] * rows[small.classes == label] for label in range(3))
    torch.testing.assert_close(small.query(vector), mixed, atol=1e-4, rtol=1e-4)
    assert torch.equal(made.query(vector), small.query(vector))
    with pytest.raises(ConfigError, match="a vector of 6 entries(.|\n)*3, one for each class"):
        small.query(torch.ones(6))
    with pytest.raises(ConfigError, match="as many rows of every class in turn"):
        replace(small, classes=small.classes.flip(0)).query(vector)
    pixels = decoct.distill(data, "dm", ipc=2, network=network, device="cpu", steps=1)
    with pytest.raises(ConfigError, match="storage 'pixels'(.|\n)*storage='bases' when the set is distilled"):
        pixels.query(vector)

"""The real classification sets open through the same sources as anybody's data."""

from __future__ import annotations

import numpy as np
import pytest

import decoct
from decoct.data.summary import write_grid

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def require(folder, name):
    if not (folder / name).exists():
        pytest.skip(f"no real data: {folder / name} is missing")
    return folder / name


@pytest.mark.parametrize(
    ("name", "mean", "std", "first"),
    [("mnist.npz", 0.1307, 0.3081, "0"), ("fashion-mnist.npz", 0.2860, 0.3530, "t-shirt/top")],
)
def test_mnist_and_fashion_mnist(real_data, name, mean, std, first):
    data = decoct.open(require(real_data, name))
    assert data.spec.shape == (1, 28, 28)
    assert data.spec.class_names[0] == first
    assert (len(data.train) + len(data.val), len(data.test)) == (60_000, 10_000)
    assert float(data.spec.transform.tensors()["mean"]) == pytest.approx(mean, abs=5e-4)
    assert float(data.spec.transform.tensors()["std"]) == pytest.approx(std, abs=5e-4)


def test_cifake_by_label_and_by_source(real_data, cache, tmp_path):
    folder = require(real_data, "cifake")
    data = decoct.open(folder, cache=cache)
    assert data.spec.shape == (3, 32, 32)
    assert data.spec.class_names == ("REAL", "FAKE")
    assert (len(data.train) + len(data.val), len(data.test)) == (10_000, 2_000)
    write_grid(data, tmp_path / "grid.png")
    subjects = decoct.open(f"parquet:{folder}?label=source", cache=cache)
    assert subjects.spec.class_names == CIFAR


@pytest.mark.slow
def test_cifar10_has_the_means_the_field_prints(real_data, cache):
    data = decoct.open(require(real_data, "cifar10"), cache=cache)
    assert data.spec.class_names == CIFAR
    assert (len(data.train), len(data.val), len(data.test)) == (45_000, 5_000, 10_000)
    tensors = data.spec.transform.tensors()
    np.testing.assert_allclose(tensors["mean"], [0.4914, 0.4822, 0.4465], atol=1e-3)
    np.testing.assert_allclose(tensors["std"], [0.2470, 0.2435, 0.2616], atol=1e-3)
    again = decoct.open(require(real_data, "cifar10"), cache=cache)
    assert again.spec.fingerprint == data.spec.fingerprint


@pytest.mark.slow
def test_cifar100_has_a_hundred_classes(real_data, cache):
    data = decoct.open(require(real_data, "cifar100"), cache=cache)
    assert data.spec.classes == 100
    assert np.bincount(data.val.y).tolist() == [20] * 100

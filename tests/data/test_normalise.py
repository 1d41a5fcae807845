from __future__ import annotations

import numpy as np
import pytest
import torch

from decoct.data import blocks
from decoct.data.normalise import fit_standardise, fit_zca
from decoct.errors import ConfigError


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few rows, so that sums over blocks are what is tested."""
    monkeypatch.setattr(blocks.row_blocks, "__defaults__", (700,))


@pytest.mark.usefixtures("small_blocks")
def test_image_moments_are_numpys():
    x = np.random.default_rng(0).integers(0, 256, (37, 3, 5, 4), dtype=np.uint8)
    fitted = fit_standardise(x)
    unit = x.astype(np.float64) / 255
    np.testing.assert_allclose(fitted.mean, unit.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(fitted.std, unit.std((0, 2, 3)), rtol=1e-6)


@pytest.mark.usefixtures("small_blocks")
def test_feature_moments_are_numpys_even_far_from_zero():
    x = (np.random.default_rng(0).normal(size=(500, 4)) + [0, 1e4, -3, 1e-3]).astype(np.float32)
    fitted = fit_standardise(x)
    np.testing.assert_allclose(fitted.mean, x.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(fitted.std, x.astype(np.float64).std(0), rtol=1e-5)


def test_constant_channels_and_features_become_zero():
    image = np.full((4, 1, 2, 2), 7, np.uint8)
    assert torch.equal(fit_standardise(image)(torch.from_numpy(image)), torch.zeros(4, 1, 2, 2))
    table = np.stack([np.full(6, 0.1), np.arange(6)], 1).astype(np.float32)
    out = fit_standardise(table)(torch.from_numpy(table))
    assert out[:, 0].abs().max() < 1e-6
    assert abs(float(out[:, 1].std(correction=0)) - 1) < 1e-6
    tiny = (np.arange(6, dtype=np.float32) * 1e-30)[:, None]
    assert fit_standardise(tiny)(torch.from_numpy(tiny)).abs().max() < 2


@pytest.mark.usefixtures("small_blocks")
def test_zca_matches_the_textbook():
    x = np.random.default_rng(1).integers(0, 256, (60, 2, 3, 3), dtype=np.uint8)
    x[:, 1] = x[:, 0] // 2 + x[:, 1] // 4
    fitted = fit_zca(x)
    rows = fit_standardise(x)(torch.from_numpy(x)).flatten(1).double().numpy()
    centred = rows - rows.mean(0)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ vt.T @ np.diag(1 / np.sqrt(s**2 / len(x) + 0.1)) @ vt
    out = fitted(torch.from_numpy(x))
    np.testing.assert_allclose(out.flatten(1), expected, atol=2e-5)
    np.testing.assert_allclose(fitted.inverse(out) * 255, x, atol=1e-2)
    np.testing.assert_allclose(fitted.matrix, fitted.matrix.T, atol=1e-6)


def test_zca_of_fewer_rows_than_values_and_of_features():
    x = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    assert torch.isfinite(fit_zca(x)(torch.from_numpy(x))).all()


def test_zca_refuses_large_images():
    with pytest.raises(ConfigError, match="rows of 12288 values") as caught:
        fit_zca(np.zeros((2, 3, 64, 64), np.uint8))
    assert "smaller size" in str(caught.value)

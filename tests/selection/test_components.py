"""Principal components block by block against scikit-learn's exact ones on all rows at once."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import PCA

from decoct.selection import components as module
from decoct.selection.components import NARROW, components


def rows_of(n: int, width: int) -> torch.Tensor:
    """Rows with a spectrum that falls, so that every direction has a place of its own, away from the origin."""
    generator = torch.Generator().manual_seed(0)
    rank = min(n - 1, width, 90)
    left, right = (torch.linalg.qr(torch.randn(size, rank, generator=generator)).Q for size in (n, width))
    return 40 * (left * 0.93 ** torch.arange(rank)) @ right.T + torch.linspace(-2, 3, width)


def in_blocks(rows: torch.Tensor, size: int, n: int) -> torch.Tensor:
    return components(lambda: rows.split(size), len(rows), rows.shape[1], n, seed=0)


@pytest.mark.parametrize(("n", "width"), [(300, 120), (40, 200), (300, NARROW + 200), (50, NARROW + 1)])
def test_they_are_those_of_all_rows_at_once(n: int, width: int) -> None:
    rows, count = rows_of(n, width), min(30, n)
    exact = torch.from_numpy(PCA(count, svd_solver="full").fit_transform(rows.double().numpy())).float()
    torch.testing.assert_close(in_blocks(rows, 64, count), exact, atol=2e-3 * float(exact.abs().max()), rtol=0)


@pytest.mark.parametrize("width", [120, NARROW + 200])
def test_rows_that_are_asked_for_again_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    rows = rows_of(200, width)
    kept = in_blocks(rows, 64, 20)
    monkeypatch.setattr(module, "KEPT", 0)
    assert torch.equal(in_blocks(rows, 64, 20), kept)


def test_long_rows_can_be_taken_apart_exactly() -> None:
    rows = rows_of(300, NARROW + 20)
    exact = components(lambda: rows.split(64), 300, NARROW + 20, 30, seed=0, exact=True)
    reference = torch.from_numpy(PCA(30, svd_solver="full").fit_transform(rows.double().numpy())).float()
    torch.testing.assert_close(exact, reference, atol=1e-3 * float(reference.abs().max()), rtol=0)


def test_many_components_of_few_rows_are_all_there_are() -> None:
    table = in_blocks(torch.randn(12, 30, generator=torch.Generator().manual_seed(1)), 5, 12)
    assert table.shape == (12, 12)
    assert float(table[:, 11].abs().max()) < 1e-4

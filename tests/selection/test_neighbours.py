"""Neighbours through faiss: nearly those of comparing all rows, and the same selectors on top."""

from __future__ import annotations

import sys

import pytest
import torch
from test_sharded import clusters

from decoct.errors import MissingExtraError
from decoct.selection import neighbours as module
from decoct.selection.facility_location import FacilityLocation
from decoct.selection.graph_density import GraphDensity
from decoct.selection.neighbours import exactly, others_through_faiss, through_faiss
from decoct.selection.similarity import similarity

PHI = clusters(3000, count=30, width=16)


@pytest.fixture(autouse=True)
def faiss() -> None:
    try:
        module.import_faiss()
    except MissingExtraError:
        pytest.skip("faiss is not installed: pip install 'decoct[faiss]'")


def _recall(found: torch.Tensor, table: torch.Tensor) -> float:
    right = table.topk(found.shape[1], dim=1).indices
    return float((found[:, :, None] == right[:, None]).any(2).float().mean())


def test_nearly_all_neighbours_are_found_by_distance_and_by_product() -> None:
    assert _recall(through_faiss(PHI, 10, "euclidean"), -torch.cdist(PHI, PHI)) > 0.95
    units = torch.nn.functional.normalize(PHI, dim=1)
    assert _recall(through_faiss(units, 10, "inner"), units @ units.T) > 0.95
    cloud = torch.randn(3000, 16, generator=torch.Generator().manual_seed(0))
    assert _recall(through_faiss(cloud, 10, "euclidean"), -torch.cdist(cloud, cloud)) > 0.6


def test_a_row_is_not_among_its_others() -> None:
    found = others_through_faiss(PHI, 5)
    assert found.shape == (3000, 5)
    assert not (found == torch.arange(3000)[:, None]).any()
    table = (-torch.cdist(PHI, PHI)).fill_diagonal_(-torch.inf)
    assert _recall(found, table) > 0.95
    assert others_through_faiss(torch.ones(500, 2), 3).shape == (500, 3)


def test_the_same_rows_give_the_same_answer() -> None:
    assert torch.equal(through_faiss(PHI, 7, "euclidean"), through_faiss(PHI.clone(), 7, "euclidean"))


@pytest.mark.parametrize("kind", ["cosine", "rbf", "dot"])
def test_sparse_similarities_through_faiss_are_those_of_the_rows(kind: str) -> None:
    phi = PHI + 60
    near = similarity(phi, kind, torch.Generator().manual_seed(0), "sparse", 8, "faiss")  # pyright: ignore
    whole = similarity(phi, kind, torch.Generator().manual_seed(0), "blocks")  # pyright: ignore
    rows = torch.arange(0, 3000, 100)
    kept, right = near.rows(rows), whole.rows(rows)
    filled = kept != 0
    torch.testing.assert_close(kept[filled], right[filled], atol=1e-4, rtol=1e-4)
    assert int(filled.sum()) >= 8 * len(rows)


def test_selectors_above_the_size_go_through_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exactly(100_000, "auto")
    assert not exactly(100_001, "auto")
    assert not exactly(5, "faiss")
    for exact, near in (
        (GraphDensity(), GraphDensity(search="faiss")),
        (FacilityLocation(form="sparse"), FacilityLocation(form="sparse", search="faiss")),
    ):
        rows = [one.pick(PHI, 30, torch.Generator()).rows for one in (exact, near)]
        assert len(set(rows[0].tolist()) & set(rows[1].tolist())) >= 24
        monkeypatch.setattr(module, "EXACT_UP_TO", 100)
        assert exact.pick(PHI, 30, torch.Generator()).rows.tolist() == rows[1].tolist()
        monkeypatch.setattr(module, "EXACT_UP_TO", 100_000)


def test_without_faiss_the_extra_and_the_other_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"(?s)decoct\[faiss\].*search='exact'.*shard_rows"):
        GraphDensity(search="faiss").pick(PHI, 3, torch.Generator())
    assert len(GraphDensity().pick(PHI, 3, torch.Generator()).rows) == 3

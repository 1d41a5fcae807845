"""Graphs from npz: propagation and hops by hand, Cora as it is known, every broken file a typed error."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from decoct.data.graph import hops, open_graph
from decoct.errors import DataError, SourceError

DATA = Path(os.environ.get("DECOCT_DATA", Path(__file__).parents[3] / "shared" / "data"))


def arrays(**changes):
    found = {
        "n": [3, 2], "feat_row": [0, 1, 2, 2], "feat_col": [0, 1, 0, 1], "feat_val": [1.0, 2.0, 1.0, 3.0],
        "edges": [[0, 1], [1, 0], [1, 2], [2, 2]], "y": [0, 1, 1], "train_idx": [0], "val_idx": [1], "test_idx": [2],
    }  # fmt: skip
    return {key: np.array(value) for key, value in {**found, **changes}.items()}


def test_features_edges_propagation_and_hops_by_hand(tmp_path):
    np.savez(tmp_path / "g.npz", **arrays())
    graph = open_graph(tmp_path / "g.npz")
    assert torch.allclose(graph.features, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.25, 0.75]]))
    assert graph.edges.tolist() == [[0, 1], [1, 2]], "each once, none to itself"
    degree = torch.tensor([2.0, 3.0, 2.0])
    adjacency = torch.tensor([[1.0, 1, 0], [1, 1, 1], [0, 1, 1]])
    expected = adjacency / (degree[:, None] * degree[None]).sqrt()
    matrix = graph.propagation()
    assert torch.allclose(matrix.to_dense(), expected)
    found = hops(matrix, graph.features, 2)
    assert torch.allclose(found[2], expected @ expected @ graph.features)
    assert torch.allclose(found, hops(expected, graph.features, 2))
    assert graph.classes == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"edges": [[0, 3]]}, "edges between 0 and 3"),
        ({"val_idx": [0]}, "a node in two splits"),
        ({"feat_val": [1.0, np.nan, 1.0, 1.0]}, "not finite"),
        ({"y": [0, 1]}, r"n = \[3, 2\] and 2 labels"),
        ({"edges": [0, 1]}, r"edges of shape \[2\]"),
        ({"feat_col": [0, 1, 0, 2]}, "feat_col between 0 and 2"),
    ],
)
def test_unsound_files_are_refused(tmp_path, changes, said):
    np.savez(tmp_path / "g.npz", **arrays(**changes))
    with pytest.raises(DataError, match=said):
        open_graph(tmp_path / "g.npz")


def test_a_missing_array_or_file_says_what_is_expected(tmp_path):
    with pytest.raises(SourceError, match="an npz file with the arrays n, feat_row"):
        open_graph(tmp_path / "none.npz")
    np.savez(tmp_path / "g.npz", n=np.array([1, 1]))
    with pytest.raises(SourceError, match="feat_row"):
        open_graph(tmp_path / "g.npz")


@pytest.mark.skipif(not (DATA / "graph" / "cora.npz").exists(), reason=f"no real data at {DATA}: set DECOCT_DATA")
def test_cora_is_as_it_is_known():
    graph = open_graph(DATA / "graph" / "cora.npz")
    assert graph.features.shape == (2708, 1433)
    assert len(graph.edges) == 5278
    assert (len(graph.train), len(graph.val), len(graph.test), graph.classes) == (140, 500, 1000, 7)
    assert torch.bincount(graph.labels[graph.train]).tolist() == [20] * 7

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
        ({"n": 3}, r"n of shape \[\]"),
        ({"n": [3]}, r"n = \[3\] and 3 labels"),
        ({"n": [3, -2], "feat_row": [], "feat_col": [], "feat_val": []}, r"n = \[3, -2\] and 3 labels"),
        ({"feat_col": [0]}, "4 feat_row, 1 feat_col and 4 feat_val"),
        ({"feat_val": [1.0, 2.0, 1.0]}, "4 feat_row, 4 feat_col and 3 feat_val"),
        ({"feat_val": ["1", "2", "3", "4"]}, "feat_val of type <U1"),
        ({"y": ["a", "b", "b"]}, "y of type <U1"),
        ({"y": [-1, 0, 1]}, "y between -1 and 1"),
        ({"y": [0, 1, 3]}, "y between 0 and 3"),
        ({"y": [0.0, 1.5, 1.0]}, "y of numbers that are not whole"),
        ({"y": [0.0, np.nan, 1.0]}, "y that are not finite"),
        ({"y": [[1, 0], [0, 1], [0, 1]]}, r"y of shape \[3, 2\]"),
        ({"train_idx": [[0]]}, r"train_idx of shape \[1, 1\]"),
        ({"train_idx": [True, False, False]}, "train_idx of type bool"),
        ({"train_idx": []}, "an empty train_idx"),
        ({"val_idx": []}, "an empty val_idx"),
    ],
)
def test_unsound_files_are_refused(tmp_path, changes, said):
    np.savez(tmp_path / "g.npz", **arrays(**changes))
    expected = r".*for each a class number from 0 \(y\).*disjoint splits, nodes for training and validation"
    with pytest.raises(DataError, match="(?s)" + said + expected):
        open_graph(tmp_path / "g.npz")


def test_whole_numbers_of_any_type_are_numbers(tmp_path):
    np.savez(tmp_path / "g.npz", **arrays())
    changes = {"y": np.array([0.0, 1.0, 1.0]), "train_idx": np.array([0], np.uint64), "test_idx": [], "n": [3.0, 2.0]}
    np.savez(tmp_path / "f.npz", **arrays(**changes))
    graph, same = open_graph(tmp_path / "f.npz"), open_graph(tmp_path / "g.npz")
    assert graph.labels.tolist() == same.labels.tolist()
    assert graph.train.tolist() == same.train.tolist()
    assert len(graph.test) == 0, "only the test may have no nodes"


def test_damaged_files_say_what_is_expected(tmp_path):
    np.savez_compressed(tmp_path / "whole.npz", **arrays())
    whole, path = (tmp_path / "whole.npz").read_bytes(), tmp_path / "g.npz"
    for length in (0, 10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"(?s)opening the graph .*an npz file with the arrays n, feat_row"):
            open_graph(path)
    start = whole.index(b"n.npy") + 20
    path.write_bytes(whole[:start] + b"\xff" * 20 + whole[start + 20 :])
    with pytest.raises(SourceError, match="error: Error -3 while decompressing"):
        open_graph(path)
    np.save(tmp_path / "g.npy", np.zeros(3))
    (tmp_path / "g.npy").rename(path)
    with pytest.raises(SourceError, match="TypeError"):
        open_graph(path)


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

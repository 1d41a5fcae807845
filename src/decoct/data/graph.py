"""A graph with labelled nodes: features, edges, and who is for training, validation and test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from decoct.data.archives import DAMAGED
from decoct.errors import DataError, SourceError

_KEYS = ("n", "feat_row", "feat_col", "feat_val", "edges", "y", "train_idx", "val_idx", "test_idx")
_SPLITS = ("train_idx", "val_idx", "test_idx")


@dataclass(frozen=True, eq=False)
class Graph:
    """`features` float32 `[n, d]`, rows summing to 1; `edges` int64 `[e, 2]`, each once, both ways meant; `labels`
    int64 `[n]`; `train`, `val`, `test` int64 node numbers without a common one.
    """

    features: Float[Tensor, "n d"]
    edges: Int[Tensor, "e 2"]
    labels: Int[Tensor, " n"]
    train: Int[Tensor, " a"]
    val: Int[Tensor, " b"]
    test: Int[Tensor, " c"]

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1

    def facts(self) -> dict[str, int | str]:
        """Its sizes, as plain values."""
        return {
            "nodes": len(self.features), "features": self.features.shape[1], "edges": len(self.edges),
            "classes": self.classes, "train": len(self.train), "val": len(self.val), "test": len(self.test),
            "fingerprint": self.key(),
        }  # fmt: skip

    def key(self) -> str:
        """A hash of everything in it."""
        digest = hashlib.sha256()
        for part in (self.features, self.edges, self.labels, self.train, self.val, self.test):
            digest.update(f"{part.dtype} {list(part.shape)}/".encode() + part.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def most_frequent(self, columns: int) -> Graph:
        """The graph with the features that most nodes have (of equals the first), rows summing to 1 again."""
        kept = self.features.bool().sum(0).sort(descending=True, stable=True).indices[:columns]
        features = self.features[:, kept]
        return replace(self, features=features / features.sum(1, keepdim=True).clamp_min(1e-12))

    def propagation(self) -> Tensor:
        """`propagation` along its edges."""
        return propagation(self.edges, len(self.features))


def propagation(edges: Int[Tensor, "e 2"], nodes: int) -> Tensor:
    """`D^-1/2 (A + I) D^-1/2`, sparse `[n, n]`, its eigenvalues in (-1, 1]."""
    own = torch.arange(nodes)
    rows = torch.cat([edges[:, 0], edges[:, 1], own])
    columns = torch.cat([edges[:, 1], edges[:, 0], own])
    root = torch.bincount(rows, minlength=nodes).float().rsqrt()
    places, values = torch.stack([rows, columns]), root[rows] * root[columns]
    return torch.sparse_coo_tensor(places, values, (nodes, nodes), check_invariants=True).coalesce()


def hops(matrix: Tensor, x: Float[Tensor, "n d"], order: int) -> Float[Tensor, "hops n d"]:
    """`P^k x` for `k = 0 .. order`, differentiable in both where the matrix is dense.

    A polynomial filter `sum_k c_k P^k x` is then a weighted sum over the first axis. Cost `order` products.
    """
    found = [x]
    for _ in range(order):
        found.append(torch.sparse.mm(matrix, found[-1]) if matrix.is_sparse else matrix @ found[-1])
    return torch.stack(found)


def open_graph(path: str | Path) -> Graph:
    """The graph in an npz file: `n` (nodes, features), `feat_row`, `feat_col`, `feat_val` (sparse features), `edges`
    `[e, 2]`, `y` `[n]`, `train_idx`, `val_idx`, `test_idx`. Nothing pickled is read.

    Raises `SourceError` for a file that cannot be read, is damaged or lacks an array, `DataError` for arrays of other
    shapes, numbers of nodes, features and classes that are not whole or do not exist, a node in two splits, no nodes
    for training or validation, and values that are not finite.
    """
    path = Path(path)
    try:
        # Opened here, since numpy does not close what it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            arrays = {key: found[key] for key in _KEYS}
    except DAMAGED as error:
        raise SourceError(
            f"opening the graph {path}",
            received=f"{type(error).__name__}: {error}",
            expected=f"an npz file with the arrays {', '.join(_KEYS)}",
            remedy="check the path, or write the graph in that form",
        ) from error
    _require_sound(path, arrays)
    nodes, width = (int(size) for size in arrays["n"])
    features = torch.zeros(nodes, width)
    places = (torch.from_numpy(arrays[key].astype(np.int64)) for key in ("feat_row", "feat_col"))
    features[tuple(places)] = torch.from_numpy(arrays["feat_val"].astype(np.float32))
    features = features / features.sum(1, keepdim=True).clamp_min(1e-12)
    edges = np.sort(arrays["edges"].astype(np.int64), axis=1)
    edges = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0).reshape(-1, 2)
    splits = (torch.from_numpy(arrays[key].astype(np.int64)) for key in _SPLITS)
    return Graph(features, torch.from_numpy(edges), torch.from_numpy(arrays["y"].astype(np.int64)), *splits)


def _require_sound(path: Path, arrays: dict[str, np.ndarray]) -> None:
    # Each looks at what the one before it has let through.
    wrong = _odd_numbers(arrays) or _odd_shape(arrays) or _odd_range(arrays) or _odd_splits(arrays)
    if wrong:
        raise DataError(
            f"opening the graph {path}",
            received=wrong,
            expected="n = [nodes, features]; nodes 0 to n - 1, for each a class number from 0 (y); a feat_row and a "
            "feat_col for each feat_val; edges [e, 2]; finite features; disjoint splits, nodes for training and "
            "validation",
            remedy="repair the file",
        )


def _odd_numbers(arrays: dict[str, np.ndarray]) -> str | None:
    """The first array with something else than finite numbers, or, but for the features, than whole ones."""
    for key, found in arrays.items():
        if found.dtype.kind not in ("biuf" if key == "feat_val" else "iuf"):
            return f"{key} of type {found.dtype}"
        if not np.isfinite(found).all():
            return f"{'features' if key == 'feat_val' else key} that are not finite"
        if key != "feat_val" and (found != np.floor(found)).any():
            return f"{key} of numbers that are not whole"
    return None


def _odd_shape(arrays: dict[str, np.ndarray]) -> str | None:
    for key, found in arrays.items():
        if found.ndim != (2 if key == "edges" else 1) or (key == "edges" and found.shape[1] != 2):
            return f"{key} of shape {list(found.shape)}"
    lengths = [len(arrays[key]) for key in ("feat_row", "feat_col", "feat_val")]
    if len(set(lengths)) > 1:
        return "{} feat_row, {} feat_col and {} feat_val".format(*lengths)
    if len(arrays["n"]) != 2 or arrays["n"].min() < 1 or len(arrays["y"]) != arrays["n"][0]:
        return f"n = {arrays['n'].tolist()} and {len(arrays['y'])} labels"
    return None


def _odd_range(arrays: dict[str, np.ndarray]) -> str | None:
    nodes, width = arrays["n"].tolist()
    # There are no more classes than nodes to have them.
    bounds = {"feat_row": nodes, "feat_col": width, "edges": nodes, "y": nodes, **dict.fromkeys(_SPLITS, nodes)}
    for key, bound in bounds.items():
        found = arrays[key]
        if found.size and (found.min() < 0 or found.max() >= bound):
            return f"{key} between {found.min()} and {found.max()}"
    return None


def _odd_splits(arrays: dict[str, np.ndarray]) -> str | None:
    for key in ("train_idx", "val_idx"):
        if not len(arrays[key]):
            return f"an empty {key}"
    joined = np.concatenate([arrays[key] for key in _SPLITS])
    return "a node in two splits, or twice in one" if len(np.unique(joined)) < len(joined) else None

"""Representative real rows: every draw reaches all clusters of a class in proportion to their size."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from decoct.data.sample_weights import spaced
from decoct.distillation.axes import Tensors
from decoct.distillation.problem import Problem, RealSource
from decoct.streams import derive_seed

RealChoice = Literal["random", "clustered"]
CLUSTERS = 32
"""k-means clusters of a class at most."""
ROWS_A_CLUSTER = 4
"""Rows of a class for each cluster at least."""


class Strata:
    """The training rows of each class in the order of their k-means clusters, from which draws take equal strides.

    A draw of `count` rows takes those at `(k + u) n / count` for `k = 0, 1, ...` and one uniform `u`: each row has the
    same chance, so the class mean keeps its expectation, and each cluster gives its share up to one row, so the mean
    varies less than that of as many random rows. The idea of representative batches is that of "DREAM: Efficient
    Dataset Distillation by Representative Matching", Liu et al., ICCV 2023, https://arxiv.org/abs/2302.14416, code of
    the authors: https://github.com/lyq312318224/DREAM, which takes the row nearest to each centre, clusters anew every
    few steps in the features of the present network, and gives small and large clusters the same weight. Here clusters
    are made once, at the first draw, in 64 principal components, at O(n 64 CLUSTERS) a round; their order is `[n]`
    int64 in the state. Where rows have weights, strides are equal in weight instead of in number.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem, self._seed = problem, derive_seed(seed, "strata")
        self._orders: list[Tensor] = []

    def per_class(self, real: RealSource, count: int) -> tuple[Float[Tensor, "n ..."], Int[Tensor, " n"]]:
        """`count` rows of every class, each at most once (all of a smaller class), grouped by class."""
        if not self._orders:
            self._orders = self._clustered()
        picked = []
        for order in self._orders:
            taken = min(count, len(order))
            start = torch.rand((), generator=real.generator, dtype=torch.float64)
            weights = self._problem.data.train.weight(order)
            if weights is None:
                places = ((torch.arange(taken) + start) * len(order) / taken).long().clamp_max(len(order) - 1)
            else:
                places = spaced(weights, taken, start)
            picked.append(order[places])
        rows, data = torch.cat(picked), self._problem.data
        return data.inputs(data.train, rows, self._problem.device), data.train.labels(rows).to(self._problem.device)

    def _clustered(self) -> list[Tensor]:
        """The rows of each class, sorted by cluster."""
        from decoct.selection.features import features

        table = features(self._problem.data, "auto", self._seed % 2**31)
        members = [torch.from_numpy(rows) for rows in self._problem.data.train.class_rows(self._problem.class_count)]
        return [rows[self._clusters(table[rows]).argsort(stable=True)] for rows in members]

    def _clusters(self, table: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        count = max(1, min(CLUSTERS, len(table) // ROWS_A_CLUSTER))
        model = KMeans(count, max_iter=20, random_state=self._seed % 2**31).set_params(n_init=1)
        with warnings.catch_warnings():
            # Stopped early or fewer distinct rows than clusters: any partition serves.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return torch.from_numpy(model.fit_predict(table.numpy())).long()

    def state_dict(self) -> Tensors:
        """The order of every class; clustering again may round otherwise."""
        return {str(label): order for label, order in enumerate(self._orders)}

    def load_state_dict(self, state: Tensors) -> None:
        self._orders = [state[str(label)].cpu() for label in range(len(state))]

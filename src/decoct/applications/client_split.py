"""Who holds which rows: a data set cut over clients, each with classes in proportions of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from decoct.data.dataset import Dataset
from decoct.errors import ConfigError
from decoct.streams import derive_seed


@dataclass(frozen=True, eq=False)
class Client:
    """One holder of rows; it may have one class, or no rows at all."""

    number: int
    rows: Int64[Tensor, " n"]
    """Rows of the training split, ascending."""
    counts: tuple[int, ...]
    """Rows of every class."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def classes(self) -> tuple[int, ...]:
        """Classes of which it has at least one row."""
        return tuple(c for c, count in enumerate(self.counts) if count)


def dirichlet_split(data: Dataset, clients: int, alpha: float, seed: int) -> list[Client]:
    """Every training row to one of `clients`: class c in shares `p_c ~ Dirichlet(alpha, ..., alpha)` over the clients.

    Paper: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification" (2019, https://arxiv.org/abs/1909.06335), in the form of Yurochkin et al., "Bayesian Nonparametric
    Federated Learning" (2019, https://arxiv.org/abs/1905.12022), which draws over clients for each class. `alpha` above
    0: 0.1 gives most clients two or three classes, 100 gives all the same. The rows of a class are shuffled and cut at
    `round(n cumsum(p))`, so that each goes to exactly one client. A client may get one class or nothing; nothing is
    drawn again, as codes do that ask for ten rows a client, because that changes the distribution.

    Cost O(n log n). Raises `ConfigError` for no clients, more clients than rows, or an alpha that is not positive.
    """
    n = len(data.train)
    for option, good, received, expected in (
        ("clients", 1 <= clients <= n, clients, f"from 1 to the {n} training rows"),
        ("alpha", np.isfinite(alpha) and alpha > 0, alpha, "a finite number above 0, such as 0.1 or 1"),
    ):
        if not good:
            raise ConfigError(
                "splitting rows over clients", received=f"{option}={received}", expected=expected,
                remedy=f"give another {option}",
            )  # fmt: skip
    owner = np.empty(n, dtype=np.int64)
    for c, members in enumerate(data.train.class_rows(data.spec.classes)):
        generator = np.random.default_rng(derive_seed(seed, "clients", c))
        cuts = np.rint(np.cumsum(_dirichlet(generator, clients, alpha)) * len(members)).astype(np.int64)[:-1]
        for number, part in enumerate(np.split(generator.permutation(members), cuts)):
            owner[part] = number
    return [_client(data, number, np.flatnonzero(owner == number)) for number in range(clients)]


def _dirichlet(generator: np.random.Generator, clients: int, alpha: float) -> NDArray[np.float64]:
    """One draw; with a tiny alpha the gamma variables underflow, and then one client has everything, as in the limit.

    Sums of shares may pass 1 by rounding, which would cut behind the end.
    """
    shares = generator.dirichlet(np.full(clients, alpha))
    if not np.isfinite(shares).all() or shares.sum() == 0:
        shares = np.eye(clients)[generator.integers(clients)]
    return shares / shares.sum()


def _client(data: Dataset, number: int, rows: NDArray[np.int64]) -> Client:
    counts = np.bincount(data.train.y[rows], minlength=data.spec.classes)
    return Client(number, torch.from_numpy(rows), tuple(counts.tolist()))

"""CRAIG: rows whose gradients, weighted, stand for the gradients of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.machine import available_memory
from decoct.selection.content_order import content_order, numbered
from decoct.selection.gradients import LastLayer, WeighedGradientSelector
from decoct.selection.selector import Picks, unit_mean
from decoct.settings import require_settings

CARD = MethodCard(
    name="craig",
    line="facility location on gradients: every row has a pick with a gradient like its own, weighted by their number",
    axes="real rows · distance between gradients · hard labels",
    paper="Mirzasoleiman, Bilmes, Leskovec, Coresets for Data-efficient Training of Machine Learning Models, 2020",
    link="https://arxiv.org/abs/1906.01827",
    bibtex="""@inproceedings{mirzasoleiman2020coresets,
  title = {Coresets for Data-efficient Training of Machine Learning Models},
  author = {Mirzasoleiman, Baharan and Bilmes, Jeff and Leskovec, Jure},
  booktitle = {International Conference on Machine Learning (ICML)},
  year = {2020},
  eprint = {1906.01827},
  archiveprefix = {arXiv}
}""",
)

BLOCK = 256
"""Columns of distances computed together."""
AGAIN = 16
"""Rows whose gain is computed again together."""

Columns = Callable[[Int64[Tensor, " b"]], Float[Tensor, "n b"]]
"""Distances of all rows to these rows."""


@dataclass(frozen=True)
class Craig(WeighedGradientSelector):
    """Greedy facility location: gains at least 1 - 1/e of what the best k rows could.

    f(S) = sum_i (D - min_{j in S} ||g_i - g_j||), D the largest distance;  gamma_j = #{i: j is nearest to i}.

    Paper: Mirzasoleiman et al. (2020), https://arxiv.org/abs/1906.01827, code https://github.com/baharanm/craig.
    Gradients are those of the last layer under a network trained on the training split, in factors.
    Shapes: residuals `[n, C]`, features `[n, d]`.
    Weights are gamma, in sum n, scaled to mean 1. Every pick counts itself once, and ties go to the earlier pick. The
    score of a pick is its gain in f divided by n: how much nearer a row has its nearest pick, on average.
    Cost: O(n^2 (C + d)) time for the first pick; the others compute again only what could win (a lazy greedy). The
    n x n table is kept up to `table_rows` rows where half of the free memory holds it; otherwise its columns are
    computed when asked for, in O(n) memory, with the same answer. Two rows that are nearest to each other, and nearer
    than all picks to nobody else, gain exactly the same: of such rows, and of others that tie, what they hold decides
    which comes first, and of equal rows the lowest.
    A plain table is taken as the gradients themselves.
    Differs from code that starts the weights at 1 before it counts, so that every pick counts double; from code that
    reads gradients in a shuffled order and numbers the picks as if it had not; and from code that finds the picks
    back in the matrix by their largest entry, where equal rows give the same pick twice.
    Where rows have weights, row i counts `w_i` times in f, in gamma and in n.
    """

    because = "brings a pick nearer to every row's gradient, by {value:.4g} on average"

    products: ClassVar[bool] = True
    table_rows: int = 8192
    """Rows of a group up to which the table of distances is kept, 4 n^2 bytes; 0 never keeps it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_settings(self, "craig", ("table_rows", self.table_rows >= 0, "0 or more"))

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """Distances of all rows with all, once in a table or at every look, and the looks of the lazy search."""
        looks, one = n + 2.0 * AGAIN * k, 2.0 * n * (classes + d)
        return n * one + looks * 3.0 * n if n <= self.table_rows else looks * one

    def pick_from(
        self, gradients: LastLayer, count: int, generator: torch.Generator, masses: Float[Tensor, " n"] | None = None
    ) -> Picks:
        # Rounding goes by the order of sums, and decides between rows that gain the same.
        parts = [gradients.residuals, gradients.features, *([] if masses is None else [masses[:, None]])]
        order = content_order(torch.cat(parts, 1))
        found = self._covering(gradients.take(order), count, None if masses is None else masses[order])
        return numbered(found, order)

    def _covering(self, gradients: LastLayer, count: int, masses: Float[Tensor, " n"] | None) -> Picks:
        columns = distance_columns(gradients, self.table_rows)
        rows, gains, owner = facility_location(columns, len(gradients), count, masses)
        total = len(gradients) if masses is None else float(masses.sum())
        return Picks(rows, unit_mean(torch.bincount(owner, masses, minlength=count)), (gains / total).float())


def distance_columns(gradients: LastLayer, table_rows: int) -> Columns:
    """Distances of all rows to the asked ones: out of a table where there is room for one."""

    def compute(rows: Int64[Tensor, " b"]) -> Float[Tensor, "n b"]:
        return gradients.distances(gradients.take(rows)).float()

    n = len(gradients)
    if n > table_rows or 4 * n * n > available_memory() // 2:
        return compute
    table = torch.empty(n, n)
    for rows in torch.arange(n).split(BLOCK):
        # Distances are symmetric; rows of the table are columns that lie together in memory.
        table[rows] = compute(rows).T
    return lambda rows: table[rows].T


def facility_location(
    columns: Columns, n: int, count: int, masses: Float[Tensor, " n"] | None = None
) -> tuple[Int64[Tensor, " k"], Float[Tensor, " k"], Int64[Tensor, " n"]]:
    """Rows in the order picked, the gain of each, and for every row the place of the pick that is nearest to it."""
    bounds, farthest = _alone(columns, n, masses)
    nearest, owner = torch.full((n,), farthest), torch.zeros(n, dtype=torch.int64)
    # A gain only ever falls, so that an old one is a bound: what is not above the best fresh one need not be renewed.
    stale = torch.zeros(n, dtype=torch.bool)
    rows, gains = [], []
    for place in range(count):
        while stale[row := int(bounds.argmax())]:
            open_ = bounds.masked_fill(~stale, -torch.inf).topk(min(AGAIN, n)).indices
            open_ = open_[stale[open_]]
            bounds[open_] = _summed((nearest[:, None] - columns(open_)).clamp(min=0), masses)
            stale[open_] = False
        rows.append(row)
        gains.append(float(bounds[row]))
        away = columns(torch.tensor([row]))[:, 0]
        owner[away < nearest] = place
        # A row equal to an earlier pick stands for itself all the same.
        owner[row] = place
        nearest = torch.minimum(nearest, away)
        bounds[row] = -torch.inf
        stale = bounds > -torch.inf
    return torch.tensor(rows), torch.tensor(gains, dtype=torch.float64), owner


def _summed(table: Float[Tensor, "n b"], masses: Float[Tensor, " n"] | None) -> Float[Tensor, " b"]:
    return table.sum(0, dtype=torch.float64) if masses is None else masses @ table.double()


def _alone(columns: Columns, n: int, masses: Float[Tensor, " n"] | None) -> tuple[Float[Tensor, " n"], float]:
    """The gain of every row as the first pick, and the largest distance of all."""
    sums, farthest = torch.empty(n, dtype=torch.float64), 0.0
    for rows in torch.arange(n).split(BLOCK):
        part = columns(rows)
        sums[rows] = _summed(part, masses)
        farthest = max(farthest, float(part.max()))
    return (n if masses is None else float(masses.sum())) * farthest - sums, farthest

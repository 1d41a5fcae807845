"""Graph density: the middle of the densest region that has no pick yet, again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.errors import ConfigError
from decoct.machine import require_memory
from decoct.selection.neighbours import Search, exactly, others_through_faiss, search_operations
from decoct.selection.selector import Picks, Selector, checked
from decoct.selection.similarity import nearest
from decoct.selection.similarity_forms import ENTRIES, Room

CARD = MethodCard(
    name="graph-density",
    line="the row in the densest region of a neighbour graph, its neighbours then counting less",
    axes="real rows · density on a k-NN graph · hard labels",
    paper="Ebert, Fritz, Schiele, RALF: A Reinforced Active Learning Formulation for Object Class Recognition, 2012",
    link="https://doi.org/10.1109/CVPR.2012.6248108",
    bibtex="""@inproceedings{ebert2012ralf,
  author    = {Ebert, Sandra and Fritz, Mario and Schiele, Bernt},
  title     = {{RALF}: A Reinforced Active Learning Formulation for Object Class Recognition},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
  pages     = {3626--3633},
  year      = {2012},
  doi       = {10.1109/CVPR.2012.6248108}
}""",
)


@dataclass(frozen=True)
class GraphDensity(Selector):
    """The row with the largest density on a symmetric graph of neighbours, which is then lowered around it.

    P_ij = 1 where i is among the nearest of j or j among those of i;  W_ij = P_ij exp(-||phi_i - phi_j||^2 / 2 w^2);
    g_i = sum_j W_ij / sum_j P_ij;  pick i = argmax g, then g_j <- g_j - g_i P_ij;  where no row left has g > 0,
    all rows left have their first g again.

    Paper: Ebert, Fritz, Schiele, "RALF" (2012), https://doi.org/10.1109/CVPR.2012.6248108.
    Shapes: features phi `[n, d]` in any unit, P and W sparse with at most 2 n k entries for k neighbours; w is the
    median length of the graph's edges.
    Weights are 1. The score of a pick is its density when picked, 0 to 1. As g_i is the largest, a row beside a pick
    is at 0 or below: picks walk over the set in rounds, about n / (k + 1) in each, in which no two are neighbours and
    after which every row is a pick or has one beside it. A prefix is the pick of fewer. Cost: O(n^2 d) time for exact
    neighbours in pieces, O(n k) memory, then O(n) for each pick. Ties go to the lowest row.
    Differs from the paper, which measures Manhattan distances and mixes this criterion with others by a learned
    policy: here distances are Euclidean, and density alone decides. The paper picks few rows and does not say what
    follows the first round: there its formula subtracts negative densities, which raises the neighbours of a pick and
    leads through what is covered already, so a new round begins here. The paper has k = 10; with fewer neighbours
    than a group has rows, picks come back to it before all groups are met, and with 15 later.
    """

    because = "densest of the rows not yet stood for, at {value:.4g}"

    products: ClassVar[bool] = True
    neighbours: int = 15
    """Nearest rows of each row, k, 1 or more."""
    search: Search = "auto"
    """How they are found: "exact", "faiss" (nearly all of them), or by "auto" faiss above 100,000 rows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise ConfigError(
                "picking rows by graph density",
                received=f"neighbours={self.neighbours}",
                expected="1 or more",
                remedy="keep the default, 15",
            )

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """Finding the neighbours, the lengths of the edges, and looking for the densest row."""
        return search_operations(n, d, self.search) + 6.0 * n * self.neighbours * d + float(n) * k

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        features = checked(features, count).cpu()
        starts, columns, weights = _graph(features, min(self.neighbours, len(features) - 1), self.search)
        sizes = (starts[1:] - starts[:-1]).clamp_min(1)
        place = torch.repeat_interleave(starts[1:] - starts[:-1])
        first = torch.zeros(len(features), dtype=torch.float64).index_add_(0, place, weights) / sizes
        density = first.clone()
        rows, scores = [], []
        for _ in range(count):
            if density.max() <= 0:
                density = first.clone()
            row = int(density.argmax())
            rows.append(row)
            scores.append(float(density[row]))
            density[columns[starts[row] : starts[row + 1]]] -= density[row].clone()
            density[row] = first[row] = -torch.inf
        return Picks(torch.tensor(rows), torch.ones(count), torch.tensor(scores))


def _graph(
    features: Float[Tensor, "n d"], k: int, search: Search
) -> tuple[Int64[Tensor, " n+1"], Int64[Tensor, " e"], Float[Tensor, " e"]]:
    """The symmetric graph in rows: entries of row i are `starts[i]:starts[i + 1]` of the columns and the weights."""
    n = len(features)
    # Keys of both directions and their sorting, in whole numbers of 8 bytes.
    require_memory(
        f"a graph of {n} rows with {k} neighbours each", needed=2 * n * k * 48, remedy="look at fewer neighbours"
    )
    points = features - features.mean(0, dtype=torch.float64).to(features.dtype)
    lengths = points.square().sum(1)

    room = Room(points)

    def closeness(rows: Tensor) -> Tensor:
        table = torch.mm(points[rows], points.T, out=room.table(len(rows), n))
        table.mul_(2).sub_(lengths).sub_(lengths[rows, None])
        table[torch.arange(len(rows)), rows] = -torch.inf
        return table

    parts = torch.arange(n).split(max(1, ENTRIES // n))
    found = nearest(closeness, parts, k)[1] if exactly(n, search) else others_through_faiss(points, k)
    columns = found.flatten()
    rows = torch.arange(n).repeat_interleave(k)
    keys = torch.cat([rows * n + columns, columns * n + rows]).unique()
    i, j = keys // n, keys % n
    ends = zip(i.split(4096), j.split(4096), strict=True)
    squared = torch.cat([(features[a] - features[b]).square().sum(1) for a, b in ends])
    median = squared.median() if len(squared) and bool(squared.median() > 0) else torch.ones(())
    starts = torch.zeros(n + 1, dtype=torch.int64)
    starts[1:] = torch.bincount(i, minlength=n).cumsum(0)
    return starts, j, (-squared.double() / (2 * median)).exp()

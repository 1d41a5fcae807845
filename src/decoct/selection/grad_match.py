"""GradMatch: rows and weights whose weighted gradients add up to the mean of all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.errors import ConfigError
from decoct.machine import require_memory
from decoct.selection.gradients import LastLayer, WeighedGradientSelector
from decoct.selection.selector import Picks, unit_mean

CARD = MethodCard(
    name="grad-match",
    line="orthogonal matching pursuit: rows with weights of at least 0 whose gradients add up to the mean of all",
    axes="real rows · mean of the gradients · hard labels",
    paper="Killamsetty, Sivasubramanian, Ramakrishnan, De, Iyer, GRAD-MATCH: Gradient Matching based Data Subset "
    "Selection for Efficient Deep Model Training, 2021",
    link="https://arxiv.org/abs/2103.00123",
    bibtex="""@inproceedings{killamsetty2021gradmatch,
  title = {{GRAD-MATCH}: Gradient Matching based Data Subset Selection for Efficient Deep Model Training},
  author = {Killamsetty, Krishnateja and Sivasubramanian, Durga and Ramakrishnan, Ganesh and De, Abir and Iyer, Rishabh},
  booktitle = {International Conference on Machine Learning (ICML)},
  year = {2021},
  eprint = {2103.00123},
  archiveprefix = {arXiv}
}""",  # noqa: E501
)

SMALLEST = 1e-3
"""Weight of a pick that the match has no use for, as a share of the mean weight."""
TOLERANCE = 1e-9
"""Correlations up to this share of the largest one at the start count as 0."""


@dataclass(frozen=True)
class GradMatch(WeighedGradientSelector):
    """Orthogonal matching pursuit with non-negative weights on the gradients of the last layer.

    min over S, |S| = k, and w >= 0 of ||sum_{i in S} w_i g_i - g_bar||^2 + lambda ||w||^2, g_bar the mean of the
    group; the next pick is argmax_i <g_i, g_bar - sum w g> / ||g_i||, then all weights are solved for again.

    Paper: Killamsetty et al. (2021), https://arxiv.org/abs/2103.00123; authors' code
    https://github.com/decile-team/cords. Gradients are those under a network trained on the training split.
    Shapes: residuals `[n, C]`, features `[n, d]`; Gram matrix of the picks `[k, k]` from these factors.
    Weights are the solution for all k picks, scaled to mean 1; a pick to which it gives 0 has 0.001 of the mean, since
    weights are positive. The score of pick t is ||g_bar - sum w g|| / ||g_bar|| with picks 1..t: what is left.
    Where no gradient points along the remainder any more, what lacks to k rows is filled up in falling order of
    correlation with it, such rows weigh 0.001 of the mean too. Rows equal to a pick share its weight.
    Cost: O(k n C d + k^2 (k + C + d)) time, O(n (C + d) + k^2) memory. Ties go to the lowest row.
    A plain table is taken as the gradients themselves.
    Differs from the paper and its code by the division by ||g_i||, which makes the pick the row that matches most with
    a weight of its own: without it long gradients come first whatever they match, and those are of wrong or hard rows.
    Differs from code that fills up with random rows of weight 1; from code that takes up a row twice, so that rows
    and weights no longer belong together; and from code with one routine for the processor, which leaves lambda out,
    and another for the accelerator. The validation gradient as target and batches as units are left out.
    Where rows have weights, g_bar and the mean squared norm are the weighted ones.
    """

    because = "with it the weighted gradients of the picks miss the mean gradient by {value:.2%}"

    ridge: float = 0.05
    """lambda as a share of the mean squared norm of the gradients, at least 0; more makes weights more even."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.ridge < torch.inf:
            raise ConfigError(
                "setting ridge of grad-match", received=repr(self.ridge), expected="a number of at least 0",
                remedy="give another ridge, or keep the default of 0.05",
            )  # fmt: skip

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """For each pick the correlation of all rows with what is left; the gradients of the picks, their weights."""
        return 2.0 * n * k * (classes + 1) * d + float(k) * k * (classes * d + classes + d) + float(k) ** 3

    def pick_from(
        self, gradients: LastLayer, count: int, generator: torch.Generator, masses: Float[Tensor, " n"] | None = None
    ) -> Picks:
        require_memory(
            f"matching gradients with {count} rows",
            needed=2 * 8 * count * count,
            remedy="pick class by class (balance='class'), lower the budget, or use method='herding', which needs no "
            "table",
        )
        rows, weights, errors = pursuit(gradients, count, self.ridge, masses)
        mean = float(weights.mean())
        return Picks(rows, unit_mean(weights.clamp(min=SMALLEST * mean if mean > 0 else 1.0)), errors.float())


def pursuit(
    gradients: LastLayer, count: int, ridge: float, masses: Float[Tensor, " n"] | None = None
) -> tuple[Int64[Tensor, " k"], Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Rows in the order picked, their weights (0 where useless), and what is left of the target after each."""
    shares = None if masses is None else masses / masses.sum()
    target = gradients.mean() if shares is None else gradients.sum(shares)
    squares = gradients.squared_norms()
    scale = float(squares.mean() if shares is None else shares @ squares)
    correlation = gradients.inner(target)
    aim, size, least = correlation.clone(), target.squared_norm(), TOLERANCE * float(correlation.abs().max())
    match = NonNegative(count, ridge * scale)
    # Zero gradients match nothing; the floor keeps them from dividing by zero.
    lengths = gradients.squared_norms().sqrt().clamp_min(TOLERANCE * scale**0.5 or 1.0)
    free = torch.ones(len(gradients), dtype=torch.bool)
    rows, errors = torch.empty(0, dtype=torch.int64), []
    for _ in range(count):
        row = int((correlation / lengths).masked_fill(~free, -torch.inf).argmax())
        if float(correlation[row]) <= least:
            break
        free[row] = False
        own = gradients.take(torch.tensor([row]))
        rows = torch.cat([rows, torch.tensor([row])])
        picked = gradients.take(rows)
        weights = match.add(picked.gram(own)[:, 0], float(aim[row]))
        rest = target.plus(picked.sum(weights), -1.0)
        correlation = gradients.inner(rest)
        errors.append((rest.squared_norm() / size) ** 0.5)
    lacking = count - len(rows)
    by_correlation = torch.sort(correlation.masked_fill(~free, -torch.inf), descending=True, stable=True).indices
    weights = torch.cat([match.weights, match.weights.new_zeros(lacking)])
    errors += [errors[-1] if errors else 0.0] * lacking
    return torch.cat([rows, by_correlation[:lacking]]), weights, torch.tensor(errors, dtype=torch.float64)


class NonNegative:
    """argmin over w >= 0 of w^T (K + lambda I) w - 2 b^T w, solved again as rows are added: Lawson and Hanson's
    active set, started from the last answer, with the Cholesky factor of its positive part carried along.
    """

    def __init__(self, capacity: int, ridge: float) -> None:
        self._gram = torch.zeros(capacity, capacity, dtype=torch.float64)
        self._factor = torch.zeros_like(self._gram)
        self._aim = torch.zeros(capacity, dtype=torch.float64)
        self._ridge, self._size = ridge, 0
        self._positive: list[int] = []
        self.weights = torch.zeros(0, dtype=torch.float64)

    def add(self, column: Float[Tensor, " s"], aim: float) -> Float[Tensor, " s"]:
        """The weights with one row more: its products with all rows, itself last, and its entry of b."""
        last = self._size
        self._size += 1
        self._gram[last, : self._size] = self._gram[: self._size, last] = column
        # Equal rows would make the matrix singular without any ridge at all.
        self._gram[last, last] += self._ridge + 1e-10 * column[-1]
        self._aim[last] = aim
        self.weights = torch.cat([self.weights, self.weights.new_zeros(1)])
        self._enter(last)
        # Two steps a row settle it; rounding must not make it go round for ever.
        for _ in range(3 * self._size + 10):
            if self._settled():
                break
        return self.weights

    def _settled(self) -> bool:
        """One step of the active set; True where the weights are the answer."""
        positive = torch.tensor(self._positive)
        p = len(positive)
        solved = torch.cholesky_solve(self._aim[positive, None], self._factor[:p, :p])[:, 0]
        old = self.weights[positive]
        if bool((solved <= 0).any()):
            falling = solved <= 0
            share = float((old[falling] / (old[falling] - solved[falling]).clamp_min(1e-300)).min())
            moved = (old + share * (solved - old)).clamp(min=0)
            moved[falling & (moved <= 1e-14 * moved.max())] = 0
            self.weights[positive] = moved
            self._positive = positive[moved > 0].tolist()
            self._refactor()
            return not self._positive
        self.weights[positive] = solved
        slope = self._aim[: self._size] - self._gram[: self._size, : self._size] @ self.weights
        slope[positive] = -torch.inf
        best = int(slope.argmax())
        if float(slope[best]) <= TOLERANCE * float(self._aim[: self._size].abs().max()):
            return True
        self._enter(best)
        return False

    def _enter(self, row: int) -> None:
        """Let the weight of this row be positive."""
        p = len(self._positive)
        if p:
            part = self._gram[self._positive, row, None]
            self._factor[p, :p] = torch.linalg.solve_triangular(self._factor[:p, :p], part, upper=False)[:, 0]
        rest = float(self._gram[row, row] - self._factor[p, :p].square().sum())
        self._factor[p, p] = max(rest, 1e-14 * float(self._gram[row, row])) ** 0.5
        self._positive.append(row)

    def _refactor(self) -> None:
        p, positive = len(self._positive), torch.tensor(self._positive, dtype=torch.int64)
        self._factor.zero_()
        if p:
            self._factor[:p, :p] = torch.linalg.cholesky(self._gram[positive][:, positive])

"""GLISTER: rows whose gradients lower the loss on validation rows most."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.selection.content_order import content_order, numbered
from decoct.selection.gradients import GradientSelector, GradientSum, LastLayer, Seen, look
from decoct.selection.selector import Pick, Picks, checked
from decoct.selection.sources import Sources
from decoct.settings import require_settings

CARD = MethodCard(
    name="glister",
    line="greedily the row whose gradient step lowers the validation loss most, that loss followed as rows come in",
    axes="real rows · loss on validation rows · hard labels",
    paper="Killamsetty, Sivasubramanian, Ramakrishnan, Iyer, GLISTER: Generalization based Data Subset Selection for "
    "Efficient and Robust Learning, 2021",
    link="https://arxiv.org/abs/2012.10630",
    bibtex="""@inproceedings{killamsetty2021glister,
  title = {{GLISTER}: Generalization based Data Subset Selection for Efficient and Robust Learning},
  author = {Killamsetty, Krishnateja and Sivasubramanian, Durga and Ramakrishnan, Ganesh and Iyer, Rishabh},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year = {2021},
  eprint = {2012.10630},
  archiveprefix = {arXiv}
}""",
)


@runtime_checkable
class Validation(Protocol):
    """The loss on validation rows at `theta_S = theta - a mean_{i in S} g_i`, of which only the gradient is asked."""

    def gradient(self) -> GradientSum:
        """Its gradient for the last layer."""
        ...

    def add(self, gradients: GradientSum, rows: int) -> None:
        """So many rows, whose gradients have this sum, came into S."""
        ...


class LastLayerLoss:
    """The mean cross-entropy of validation rows, whose logits follow every step of the last layer in closed form.

    Moving weights and bias by `-a (M, s)` moves the logits `[v, C]` by `-a (H M^T + s)`: O(v C d) a step. The learning
    rate is `a = eta C / mean(1 + ||h||^2)`, so that eta means the same for features of any size; each of the first C
    rows moves by `a / C`.
    """

    def __init__(self, seen: Seen, eta: float) -> None:
        self._seen = Seen(seen.features.double(), seen.logits.double(), seen.labels)
        self._rate = eta / float((1 + self._seen.features.square().sum(1)).mean())
        self._moved, self._rows = torch.zeros_like(self._seen.logits), 0

    def gradient(self) -> GradientSum:
        seen, classes = self._seen, self._seen.logits.shape[1]
        # Classes take turns: until each had its first, a pick moves no more than it will then.
        step = self._rate * classes / max(self._rows, classes)
        return Seen(seen.features, seen.logits - step * self._moved, seen.labels).gradients().mean()

    def add(self, gradients: GradientSum, rows: int) -> None:
        self._moved += self._seen.features @ gradients.weight.T + gradients.bias
        self._rows += rows


class QuadraticLoss:
    """A loss whose gradient is the mean of these, and whose curvature is the identity."""

    def __init__(self, gradients: LastLayer, eta: float) -> None:
        self._start, self._eta = gradients.mean(), eta
        self._sum, self._rows = self._start.plus(self._start, -1.0), 0

    def gradient(self) -> GradientSum:
        return self._start.plus(self._sum, -self._eta / max(self._rows, 1))

    def add(self, gradients: GradientSum, rows: int) -> None:
        self._sum, self._rows = self._sum.plus(gradients), self._rows + rows


@dataclass(frozen=True)
class Glister(GradientSelector):
    """Greedy on the first-order gain in validation loss, with the validation gradient kept up to date.

    max over S of -L_V(theta - a mean_{i in S} g_i); each pick is argmax_i <g_i, grad L_V(theta_S)>.

    Paper: Killamsetty et al. (2021), https://arxiv.org/abs/2012.10630; authors' code
    https://github.com/decile-team/cords. Gradients are those of the last layer under a network trained on the
    training split. Groups (classes) take turns, each up to its budget, under one validation loss over all
    classes: under the validation rows of its own class alone a row of another class with this label, whose gradient
    is longer, looks more helpful than a right one.
    Shapes: residuals `[n, C]` and features `[n, d]` of the rows, the same `[v, ...]` of validation rows.
    Weights are 1. The score of a pick is its gain <g_i, grad L_V> when it was picked; negative where no row helps.
    Cost: O(k (n + v) C d / refresh) time, O((n + v)(C + d)) memory. Ties go to the lowest row; what the stochastic
    engine draws, and which of equals it takes, follows from the gradients, not from their order.
    A plain table is taken as the gradients; the validation loss then has their mean as its gradient and curvature 1,
    and with eta = 1 the picks together take a step of their mean.
    The learning rate a is relative to the features, and the picks step by their mean, where the paper takes their sum:
    steps do not grow with the budget, and a smaller budget's picks are the first of a larger one's.
    Long gradients come first, so that few rows are hard rows; validation labels must be right.
    Differs from code in which the refreshed gradient is never used (an argument under a misspelt name), so that the
    answer is the k largest products with one fixed gradient; from code that runs all validation rows again for every
    pick; and from code whose stochastic form draws more rows than are left.
    """

    because = "its gradient helps the validation loss most, by {value:.4g} for each unit of step"

    together: ClassVar[bool] = True
    eta: float = 0.5
    """Step of all picked rows, above 0: by how many residuals those of one class together move the logits of a row with
    like features. Above 1 they overshoot, and then rows with wrong labels look helpful, for they push back."""
    refresh: int | None = None
    """Picks after which the validation gradient is computed afresh, from 1; more is faster and more redundant. None
    takes a hundredth of the picks so far, which hardly move it."""
    engine: Literal["naive", "stochastic"] = "naive"
    """naive looks at every row for every pick, stochastic at (n / k) ln(1 / epsilon) rows drawn afresh each time."""
    epsilon: float = 0.01
    """How much the stochastic engine may lose, between 0 and 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_settings(
            self, "glister",
            ("eta", 0 < self.eta < math.inf, "a number above 0"),
            ("refresh", self.refresh is None or self.refresh >= 1, "1 or more picks"),
            ("engine", self.engine in ("naive", "stochastic"), "'naive' or 'stochastic'"),
            ("epsilon", 0 < self.epsilon < 1, "a number between 0 and 1"),
        )  # fmt: skip

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """A gradient over the validation rows and its product with all rows, each time that it is renewed."""
        times = min(k, 200 + 100 * math.log(max(1.0, k / 200))) if self.refresh is None else max(1.0, k / self.refresh)
        if self.engine == "stochastic":
            return 2.0 * classes * d * (min(n * k, n * math.log(1 / self.epsilon)) + times * n / 4)
        return 2.0 * classes * d * times * n * 1.25

    def bind(self, sources: Sources) -> Pick:
        if sources.kind == "array":
            return super().bind(sources)
        data = sources.data
        train, val = (look(sources.expert, data, split, sources.device) for split in (data.train, data.val))
        layer, joint = train.gradients(), list[Picks]()

        def from_rows(rows: Int64[Tensor, " m"], count: int, generator: torch.Generator) -> Picks:
            checked(layer.features[rows], count)
            loss = LastLayerLoss(val, self.eta)
            if not sources.groups:
                return self.greedy(layer.take(rows).double(), loss, count, generator)
            # All groups grow together: a validation loss that only one class has moved favours what moves it back.
            if not joint:
                pool = torch.cat(sources.groups)
                group = torch.cat([torch.full((len(part),), place) for place, part in enumerate(sources.groups)])
                found = self.greedy(
                    layer.take(pool).double(), loss, sum(sources.wanted), generator, group, sources.wanted
                )
                joint.append(Picks(pool[found.rows], found.weights, found.scores))
            return _within(joint[0], rows, len(layer))

        return from_rows

    def pick_from(self, gradients: LastLayer, count: int, generator: torch.Generator) -> Picks:
        return self.greedy(gradients, QuadraticLoss(gradients, self.eta), count, generator)

    def greedy(
        self, gradients: LastLayer, loss: Validation, count: int, generator: torch.Generator,
        group: Int64[Tensor, " n"] | None = None, wanted: tuple[int, ...] = (),
    ) -> Picks:  # fmt: skip
        """Pick `count` of these rows for this validation loss; groups take turns, up to what is wanted of each."""
        group = torch.zeros(len(gradients), dtype=torch.int64) if group is None else group
        if self.engine == "stochastic":
            # Rows are drawn by their place: laid out by what they hold, so that the order of the file decides nothing.
            order = content_order(torch.cat([gradients.residuals, gradients.features], 1))
            return numbered(self._picks(gradients.take(order), loss, count, generator, group[order], wanted), order)
        return self._picks(gradients, loss, count, generator, group, wanted)

    def _picks(
        self, gradients: LastLayer, loss: Validation, count: int, generator: torch.Generator,
        group: Int64[Tensor, " n"], wanted: tuple[int, ...],
    ) -> Picks:  # fmt: skip
        turns = _turns(wanted or (count,))
        unpicked = torch.ones(len(gradients), dtype=torch.bool)
        rows: list[int] = []
        scores: list[float] = []
        target, gains, fresh = loss.gradient(), None, 0
        for step, turn in enumerate(turns):
            # Not a share of the budget, or a smaller one would pick other rows.
            if step - fresh >= (self.refresh or max(1, step // 100)):
                loss.add(gradients.take(torch.tensor(rows[fresh:])).sum(), step - fresh)
                target, gains, fresh = loss.gradient(), None, step
            free = unpicked & (group == turn)
            if self.engine == "stochastic":
                drawn = self._draw(free, count, generator)
                found = gradients.take(drawn).inner(target)
            else:
                gains = gradients.inner(target) if gains is None else gains
                drawn, found = None, gains.masked_fill(~free, -torch.inf)
            best = int(found.argmax())
            row = best if drawn is None else int(drawn[best])
            unpicked[row] = False
            rows.append(row)
            scores.append(float(found[best]))
        return Picks(torch.tensor(rows), torch.ones(count), torch.tensor(scores))

    def _draw(self, free: Tensor, count: int, generator: torch.Generator) -> Int64[Tensor, " s"]:
        """Rows that the next pick is made from, ascending: at most as many as are left."""
        left = free.nonzero()[:, 0]
        size = min(len(left), math.ceil(len(free) / count * math.log(1 / self.epsilon)))
        return left[torch.randperm(len(left), generator=generator)[:size]].sort().values


def _turns(wanted: tuple[int, ...]) -> list[int]:
    """The group of every pick: all take turns, each as long as it wants more."""
    return [place for turn in range(max(wanted)) for place, count in enumerate(wanted) if turn < count]


def _within(picks: Picks, rows: Int64[Tensor, " m"], count: int) -> Picks:
    """Those of the picks that are among these of `count` rows, numbered within them."""
    place = torch.full((count,), -1)
    place[rows] = torch.arange(len(rows))
    found = place[picks.rows]
    here = found >= 0
    return Picks(found[here], picks.weights[here], picks.scores[here])

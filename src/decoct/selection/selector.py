"""What every selector is: `Selector`, and its answer `Picks`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from decoct.errors import BudgetError, ConfigError, DataError
from decoct.selection.settings import plain
from decoct.settings import require_choices

if TYPE_CHECKING:
    from decoct.selection.sources import Sources

Pick = Callable[[Tensor, int, torch.Generator], "Picks"]
"""(rows of a group `[m]`, how many, chance) -> picks, numbered within the group."""
DRAWN = "drawn at random"
"""Why a row was picked where chance alone decided."""
SCORED = "scores:"
"""How a score that somebody else computed is named among the kinds of features: scores:NAME."""


@dataclass(frozen=True, eq=False)
class Picks:
    """What a selector picked from `n` rows, in order: a prefix is what it would rather keep with less room.

    `rows` are distinct numbers in 0..n-1. `weights` are each pick's share of the rows that it stands for (the size of
    its cluster, or 1), scaled to a mean of 1; a coreset joined from several classes then has mean weight 1 in every
    class and as a whole, and weighting its loss does not undo its class balance. `scores` are the method's own figure
    for each pick; the method says what it means. `drawn` tells picks apart that chance alone decided, where a method
    has both kinds; their scores say nothing.
    """

    rows: Int64[Tensor, " k"]
    weights: Float[Tensor, " k"]
    scores: Float[Tensor, " k"]
    drawn: Bool[Tensor, " k"] | None = None

    def reasons(self, method: Selector, features: str) -> list[str]:
        """Why each was picked, by `Selector.reason`."""
        chance = [False] * len(self.rows) if self.drawn is None else self.drawn.tolist()
        told = zip(self.scores.tolist(), chance, strict=True)
        return [DRAWN if drawn else method.reason(score, features) for score, drawn in told]


class Selector(ABC):
    """Picks real rows. Finals are frozen dataclasses that hold options only; the data are arguments of the call.

    Values that the `Literal[...]` or `bool` of a field does not list are refused; a class with a `__post_init__` of its
    own calls this one.
    """

    needs_features: ClassVar[bool] = True
    """False where features of the rows are not asked for: then none are computed."""
    products: ClassVar[bool] = False
    """Whether most of the work is products of matrices, which are several times as fast as rows one after the other."""
    together: ClassVar[bool] = False
    """Whether all groups are picked from together, so that the work depends on them as a whole."""
    because: ClassVar[str] = "score {value:.4g}"
    """Why a row is picked, in words; `value` stands for its score, and options of the selector for themselves."""

    def __post_init__(self) -> None:
        require_choices(self)

    def reason(self, score: float, features: str) -> str:
        """Why a row with this score was picked, one clause; `features` is the kind that rows were compared by."""
        return self.because.format(value=score, **vars(self))

    def settings(self, features: str) -> dict[str, Any]:
        """The options that the picks follow from, plain values, where rows are compared by this kind of features."""
        return plain(asdict(self)) if is_dataclass(self) and not isinstance(self, type) else {}

    def trains(self, kind: str) -> bool:
        """Whether the picks follow from a network that is trained for them where `Sources.kind` is this kind."""
        return False

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """Floating-point operations of picking k of n rows with d numbers each, roughly; by default 2 n k d.

        That is comparing every row with every pick. A multiply-add counts as two. `classes` is how many residuals a
        gradient has beside its d features; only selectors by gradients look at it.
        """
        return 2.0 * n * k * d

    def bind(self, sources: Sources) -> Pick:
        """Make ready to pick from these data: what is returned picks from the rows of one group at a time.

        By default `pick` on the rows' features. Selectors that look at something else (training dynamics, gradients)
        replace this and ask `sources` for it. Nothing is kept in the selector itself.
        """
        asked = self.needs_features or sources.kind == "array"
        table = sources.table if asked else sources.none()

        def from_rows(rows: Int64[Tensor, " m"], count: int, generator: torch.Generator) -> Picks:
            weights = sources.data.train.weight(rows)
            if weights is not None:
                return self.pick_weighted(table[rows], weights.float(), count, generator)
            return self.pick(table[rows], count, generator)

        return from_rows

    @abstractmethod
    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        """Pick `count` of the `n` rows: those of one class, or of the whole set where classes do not matter.

        `generator` lives on the CPU and is the only source of chance. The answer lies on the CPU.
        Raises `BudgetError` unless 1 <= count <= n, and `DataError` for NaN or infinite features, and for such large
        ones that comparing rows by them overflows.
        """

    def pick_weighted(
        self, features: Float[Tensor, "n d"], weights: Float[Tensor, " n"], count: int, generator: torch.Generator
    ) -> Picks:
        """`pick` where row i counts as `weights[i]` rows (above 0); the method says how.

        Raises `ConfigError` where it has no such form, which is the case unless this is replaced.
        """
        raise unweighted(type(self).__name__)


def require_weighing(method: Selector, name: str) -> None:
    """Raise `ConfigError` where a selector cannot honour the weights of rows."""
    if type(method).pick_weighted is Selector.pick_weighted:
        raise unweighted(name)


def unweighted(name: str) -> ConfigError:
    return ConfigError(
        f"selecting by {name}",
        received="training rows with weights",
        expected="rows that all count the same: this method has no weighted form",
        remedy="leave the weights out, or choose random, herding, k-means, k-median, facility-location, graph-cut, "
        "kernel-thinning, craig, grad-match or ccs, which honour them (without shards)",
    )


def checked(features: Float[Tensor, "n d"], count: int, *, compared: bool = True) -> Float[Tensor, "n d"]:
    """The features in float32, fit to be picked from; raises `BudgetError` or `DataError`.

    Where rows are `compared` by them, not only sorted or counted, sums of squared distances over all rows must be
    finite as well: a value such as 1e20 that stands for a missing one would turn them into infinity and NaN.
    """
    if not 1 <= count <= len(features):
        raise BudgetError(
            "picking rows",
            received=f"a count of {count} from {len(features)} rows",
            expected=f"between 1 and {len(features)} rows",
            remedy="lower the budget, or give more data",
        )
    # In single precision, beyond whose range a finite double lies.
    features = features.float()
    bad = ~torch.isfinite(features).all(1)
    if bad.any():
        raise DataError(
            "picking rows by their features",
            received=f"features {list(features.shape)} with NaN or infinity in {int(bad.sum())} rows, "
            f"first in row {int(bad.nonzero()[0])}",
            expected="finite numbers",
            remedy="repair or drop those rows before selecting",
        )
    if compared:
        _require_squares(features)
    return features


def _require_squares(features: Float[Tensor, "n d"]) -> None:
    squares = features.square().sum(1)
    # (2 r)^2 bounds a squared distance, n of them a sum, and herding adds both of a row to both of the picks.
    bad = ~torch.isfinite(squares * (8.0 * len(features)))
    if bad.any():
        row = int(bad.nonzero()[0])
        raise DataError(
            "picking rows by their features",
            received=f"features {list(features.shape)} too large to be compared in {int(bad.sum())} rows, first in "
            f"row {row}, which holds {float(features[row].abs().max()):.3g}",
            expected="numbers whose squares, summed over all rows, stay below 3.4e38",
            remedy="repair or drop those rows where the value stands for a missing one, or scale the features down",
        )


def unit_mean(shares: Float[Tensor, " k"] | Int64[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Weights of mean 1, proportional to `shares` (positive), on the CPU."""
    return (shares.double() / shares.double().mean()).float().cpu()


def distances(features: Float[Tensor, "n d"], points: Float[Tensor, "k d"]) -> Float[Tensor, "n k"]:
    """Euclidean distances from differences, not from inner products, so that equal rows are at exactly 0."""
    return torch.cdist(features, points, compute_mode="donot_use_mm_for_euclid_dist")

"""What is asked of a selection: which selector, what it looks at, and how many rows of which groups."""

from __future__ import annotations

from dataclasses import dataclass, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from decoct.compact.budget import CLASS, GLOBAL, Budget
from decoct.compact.coreset import Coreset
from decoct.data.dataset import Dataset
from decoct.data.sample_weights import weights_key
from decoct.engine import Engine, Local
from decoct.selection.by_score import ByScore
from decoct.selection.features import Table, feature_kind
from decoct.selection.methods import method_name, selector
from decoct.selection.own_scores import OwnScores, score_column
from decoct.selection.repeated import standing
from decoct.selection.selector import SCORED, Selector, require_weighing
from decoct.selection.sharded.selector import sharded
from decoct.selection.sources import Sources


@dataclass(frozen=True, eq=False)
class Question:
    """Everything that the picks of a selection from rows in memory follow from; made by `asked_of`."""

    name: str
    """Of the method, as it is listed."""
    method: Selector
    sources: Sources
    budget: Budget
    balance: str
    own: OwnScores | None
    """Scores of the user's that have a name."""

    @property
    def engine(self) -> Engine:
        """What looks at the rows and picks from the groups."""
        return self.sources.engine or Local()

    @cached_property
    def looked_at(self) -> str:
        """The kind of features that is looked at, "none" for none."""
        kind = self.sources.kind
        return kind if self.method.needs_features or kind == "array" else "none"

    @property
    def kind(self) -> str:
        """What rows are compared by, in the words of a provenance."""
        return self.looked_at if self.own is None else f"{SCORED}{self.own.name}"

    def provenance(self) -> dict[str, Any]:
        """What is known of the answer before it is made."""
        data, sources, own = self.sources.data, self.sources, self.own
        return {
            "kind": "selection",
            "method": self.name,
            "config": self.method.settings(self.kind),
            "budget": {unit: value for unit, value in vars(self.budget).items() if value is not None},
            "features": self.kind,
            "balance": self.balance,
            "seed": sources.seed,
            "rows_key": data.rows_key,
            **sources.followed(self.looked_at, self.method.trains(sources.kind)),
            **({"scores": {"name": own.name, "file": own.file}} if own is not None else {}),
            **({"weights": weights_key(data.train)} if data.train.weights is not None else {}),
        }

    def answered(self, folder: Path, provenance: dict[str, Any]) -> Coreset | None:
        """The answer that stands in the folder, if there is one; raises `OutputError` for another result."""
        if not is_dataclass(self.method):
            # Its settings are not known, so that nothing tells what it would pick.
            return None
        spec = self.sources.data.spec
        return standing(folder, provenance, {"fingerprint": spec.fingerprint, "transform": spec.transform.kind})


def asked_of(
    data: Dataset,
    method: str | Selector,
    budget: Budget,
    balance: str,
    features: str | Table | OwnScores,
    seed: int,
    device: str,
    *,
    cache: Path | None,
    shard_rows: int | None,
    engine: Engine | None,
) -> Question:
    """The question that `select` asks with these arguments; raises what is wrong with them before any work."""
    chosen, own = selector(method), features if isinstance(features, OwnScores) else None
    compared = features.values if isinstance(features, OwnScores) else features
    name, kind = method_name(chosen), feature_kind(data, compared)
    if isinstance(chosen, ByScore) and kind == "array":
        compared = score_column(compared)
    if shard_rows is not None:
        chosen = sharded(chosen, shard_rows)
    if data.train.weights is not None:
        require_weighing(chosen, name)
    groups, wanted = shared_out(data, budget, balance)
    sources = Sources(data, compared, seed, device, cache, groups, wanted, engine or Local())
    return Question(name, chosen, sources, budget, balance, own)


def shared_out(
    data: Dataset, budget: Budget, balance: str = CLASS
) -> tuple[tuple[Int64[Tensor, " _"], ...], tuple[int, ...]]:
    """Training rows of every group that is picked from on its own, classes or the whole set, and how many of each.

    Raises what `Budget.quota` raises.
    """
    by_class = tuple(torch.from_numpy(rows) for rows in data.train.class_rows(data.spec.classes))
    counts = torch.tensor([len(rows) for rows in by_class])
    quota = budget.quota(counts, data.spec.row_bytes, balance, data.spec.class_names, takes_total=True)
    if balance == GLOBAL:
        return (torch.arange(len(data.train)),), (int(quota.sum()),)
    return by_class, tuple(quota.tolist())

"""What a selection from a table of features costs before it is made."""

from __future__ import annotations

import numpy as np
import torch

from decoct.compact.budget import CLASS, GLOBAL, Budget
from decoct.data.feature_table import FeatureTable
from decoct.selection.cost import Cost, work_of
from decoct.selection.methods import selector
from decoct.selection.rates import measured_rates
from decoct.selection.selector import Selector
from decoct.selection.sharded.selector import ROWS, Sharded, at_once


def estimate_table(
    table: FeatureTable,
    method: str | Selector = "k-center",
    *,
    budget: Budget,
    balance: str = CLASS,
    shard_rows: int = ROWS,
    measure: bool = True,
) -> Cost:
    """What `select_table` with these arguments would cost; of the table its labels are read, and nothing is written.

    Nothing is known of what will be trained, so no passes are named from which it pays. Reading and writing the
    table, which takes longer than everything else where its disk is slow, is not counted. Raises what `select_table`
    raises.
    """
    labels = None if table.labels is None else table.read_labels()
    sizes = torch.tensor([table.rows]) if labels is None else torch.from_numpy(np.bincount(labels))
    quota = budget.quota(sizes, 4 * table.width, balance, takes_total=True)
    kept = int(quota.sum())
    groups = [(table.rows, kept)] if balance == GLOBAL else list(zip(sizes.tolist(), quota.tolist(), strict=True))
    chosen = selector(method)
    shards = chosen if at_once(chosen) else Sharded(chosen, shard_rows)
    work = work_of(shards, [(n, k) for n, k in groups if k], table.width)
    rates = measured_rates(table.rows, table.width) if measure else None
    return Cost("", table.rows, kept, 0.0, 0.0, work, rates=rates, products=chosen.products)

"""Coarse shards follow from what rows hold, not from where they stand, and their picks weigh what their rows do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_sharded import clusters
from test_sharded_table import written

from decoct.selection.sharded import partition as module
from decoct.selection.sharded import survey as surveyed
from decoct.selection.sharded.driver import select_table
from decoct.selection.sharded.partition import partition, read_shard
from decoct.selection.sharded.survey import survey


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNIT_BYTES", 4 * 6 * 150)  # 150 rows of 6 numbers
    monkeypatch.setattr(module, "BLOCK_BYTES", 2 * 6 * 333)


def _no_tick(done: float | int, note: str = "") -> None: ...


def test_permuting_rows_permutes_the_shards_where_k_means_finds_nothing_to_cut(tmp_path: Path) -> None:
    """Of 1000 rows 960 are equal: one part would hold nearly all, so they are cut into even pieces."""
    rows = np.zeros((1000, 6))
    rows[:40] = np.random.default_rng(3).standard_normal((40, 6))
    cuts = []
    for name, order in (("a", np.arange(1000)), ("b", np.random.default_rng(0).permutation(1000))):
        laid = written(tmp_path / f"{name}.npy", rows[order])
        made = partition(laid, tmp_path / name, None, 0, _no_tick)
        assert [shard.rows for shard in made.shards] == [150] * 6 + [100]
        cuts.append([sorted(read_shard(tmp_path / name, part, "<f2", 6)[0].tolist()) for part in made.shards])
    assert cuts[0] == cuts[1]


def test_a_sample_that_misses_all_rows_is_the_same_row_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surveyed, "SAMPLE", 0)
    rows = np.arange(60.0).repeat(6).reshape(60, 6)
    order = np.random.default_rng(0).permutation(60)
    samples = [survey(written(tmp_path / "a.npy", part), _no_tick)[0].tolist() for part in (rows, rows[order])]
    assert samples[0] == samples[1]
    assert len(samples[0]) == 1


def test_the_picks_of_a_coarse_shard_weigh_what_its_rows_do(tmp_path: Path) -> None:
    table = written(tmp_path / "phi.npy", clusters(1000).numpy())
    chosen = select_table(table, "k-means", count=60, cache=tmp_path / "cache")
    weight = torch.zeros(1000).index_put_((chosen.indices,), chosen.weights)
    folder = next((tmp_path / "cache").glob("partition-*"))
    cut = partition(table, folder, None, 0, _no_tick)
    assert len({shard.rows for shard in cut.shards}) > 1
    for shard in cut.shards:
        numbers = read_shard(folder, shard, table.dtype, table.width)[1]
        assert float(weight[numbers].sum()) == pytest.approx(60 * shard.rows / 1000, rel=1e-4)

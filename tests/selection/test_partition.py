"""Coarse shards follow from what rows hold, not from where they stand, and their picks weigh what their rows do."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_sharded import clusters
from test_sharded_table import written

from decoct.errors import IntegrityError, OutputError
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


def test_of_two_selections_that_share_a_cache_one_cuts_and_the_other_waits(tmp_path: Path) -> None:
    table = written(tmp_path / "phi.npy", clusters(1000).numpy())
    dealing, other = threading.Event(), threading.Event()

    def slow(done: float | int, note: str = "") -> None:
        if note == "dealing out rows" and not dealing.is_set():
            dealing.set()
            other.wait(0.5)

    def second() -> module.Partition:
        assert dealing.wait(60)
        try:
            return partition(table, tmp_path / "cache" / "cut", None, 0, _no_tick)
        finally:
            other.set()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(second)
        made = partition(table, tmp_path / "cache" / "cut", None, 0, slow)
        assert waiting.result() == made
    numbers = [read_shard(tmp_path / "cache" / "cut", shard, "<f2", 6)[1] for shard in made.shards]
    assert torch.equal(torch.cat(numbers).sort().values, torch.arange(1000))


def test_shards_with_other_rows_than_were_dealt_out_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where two processes write into one folder on a file system without locks."""
    cut = module._Cutter.cut

    def disturbed(self: module._Cutter, *rows: Any) -> list[module.Shard]:
        shards = cut(self, *rows)
        with (self.folder / f"{shards[0].name}.rows").open("ab") as file:
            file.write(bytes(12))
        return shards

    monkeypatch.setattr(module._Cutter, "cut", disturbed)
    table = written(tmp_path / "phi.npy", clusters(1000).numpy())
    with pytest.raises(OutputError, match=r"(?s)shards with more or fewer rows than.*\(--cache, --out\)"):
        partition(table, tmp_path / "cut", None, 0, _no_tick)
    assert not (tmp_path / "cut").exists()


@pytest.mark.parametrize("kind", ["rows", "numbers"])
def test_a_shard_that_lost_rows_is_refused(tmp_path: Path, kind: str) -> None:
    table = written(tmp_path / "phi.npy", clusters(1000).numpy())
    shard = partition(table, tmp_path / "cut", None, 0, _no_tick).shards[0]
    path = tmp_path / "cut" / f"{shard.name}.{kind}"
    path.write_bytes(path.read_bytes()[:-24])
    with pytest.raises(IntegrityError, match=rf"(?s)changed since they were cut.*expected: {shard.rows} rows"):
        read_shard(tmp_path / "cut", shard, "<f2", 6)
    path.unlink()
    with pytest.raises(IntegrityError, match="removed or changed"):
        read_shard(tmp_path / "cut", shard, "<f2", 6)

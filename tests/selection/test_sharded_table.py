"""Selecting from a table on disk: the same rows however it is cut off and taken up again; bad tables are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from full_disk import files_of_at_most
from test_sharded import clusters

from decoct.compact.coreset import Coreset
from decoct.compact.load import load
from decoct.data.feature_table import FeatureTable, feature_table
from decoct.engine import Local
from decoct.errors import BudgetError, ConfigError, DataError, MismatchError, OutputError, SourceError
from decoct.selection.coverage import Coverage
from decoct.selection.dynamic_uncertainty import DynamicUncertainty
from decoct.selection.k_center import KCenter
from decoct.selection.sharded import partition as module
from decoct.selection.sharded import survey as surveyed
from decoct.selection.sharded.driver import select_table
from decoct.selection.sharded.partition import partition, read_shard
from decoct.streams import Streams


class StoppedError(Exception):
    """What a kill is in these tests."""


class Halting(Local):
    """Stops after so many units."""

    def __init__(self, units: int) -> None:
        self.units = units

    def map(self, work: Callable[[Any], Any], units: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for number, unit in enumerate(units):
            if number == self.units:
                raise StoppedError
            yield number, work(unit)


class Backwards(Local):
    """The last unit first."""

    def map(self, work: Callable[[Any], Any], units: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for number in reversed(range(len(units))):
            yield number, work(units[number])


class Meanwhile(Local):
    """Does something else before the first unit."""

    def __init__(self, other: Callable[[], Any]) -> None:
        self.other = other

    def map(self, work: Callable[[Any], Any], units: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        self.other()
        yield from super().map(work, units)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNIT_BYTES", 4 * 6 * 150)  # 150 rows of 6 numbers
    monkeypatch.setattr(surveyed, "SAMPLE", 700)
    monkeypatch.setattr(module, "BLOCK_BYTES", 2 * 6 * 333)


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    return written(tmp_path / "phi.npy", clusters(1000).numpy())


def written(path: Path, rows: np.ndarray, **columns: np.ndarray) -> FeatureTable:
    np.save(path, rows.astype(np.float16))
    for name, values in columns.items():
        np.save(path.with_suffix(f".{name}.npy"), values)
    return feature_table(path, **{name: path.with_suffix(f".{name}.npy") for name in columns})


def _no_tick(done: float | int, note: str = "") -> None: ...


def test_a_table_is_read_as_it_was_written(table: FeatureTable) -> None:
    rows = clusters(1000).numpy().astype(np.float16)
    assert (len(table), table.width, table.dtype) == (1000, 6, "<f2")
    assert (np.concatenate([block for _, block in table.blocks(100)]) == rows).all()
    assert [start for start, _ in table.blocks(12 * 300)] == [0, 300, 600, 900]
    assert (table.take(np.array([7, 999, 0, 7])) == rows[[7, 999, 0, 7]]).all()
    assert feature_table(f"features:{table.path}") == table


@pytest.mark.parametrize("labelled", [False, True])
def test_the_shards_hold_every_row_once(table: FeatureTable, tmp_path: Path, labelled: bool) -> None:
    labels = np.arange(1000) % 7 // 2 if labelled else None
    cut = partition(table, tmp_path / "cut", labels, 0, _no_tick)
    rows = clusters(1000).half().float()
    numbers = []
    for shard in cut.shards:
        features, own = read_shard(tmp_path / "cut", shard, table.dtype, table.width)
        assert 0 < len(own) == shard.rows <= 300
        assert torch.equal(features, rows[own])
        assert labels is None or set(labels[own.numpy()].tolist()) == {shard.group}
        numbers.append(own)
    assert torch.equal(torch.cat(numbers).sort().values, torch.arange(1000))
    assert partition(table, tmp_path / "cut", labels, 0, _no_tick) == cut
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("rows", [np.ones((900, 6)), np.vstack([np.zeros((899, 6)), np.full((1, 6), 99)])])
def test_equal_rows_are_cut_all_the_same(tmp_path: Path, rows: np.ndarray) -> None:
    chosen = select_table(written(tmp_path / "phi.npy", rows), "k-center", count=30, shard_rows=50)
    assert len(set(chosen.indices.tolist())) == 30


@pytest.mark.parametrize("method", ["k-center", "facility-location", "graph-cut", "semdedup", "random", "k-means"])
def test_any_engine_gives_the_same_rows_and_a_prefix_is_the_pick_of_fewer(table: FeatureTable, method: str) -> None:
    first = select_table(table, method, fraction=0.1, shard_rows=60)
    again = select_table(table, method, fraction=0.1, shard_rows=60, engine=Backwards())
    assert len(set(first.indices.tolist())) == 100
    assert first.indices.tolist() == again.indices.tolist()
    assert torch.equal(first.weights, again.weights)
    assert torch.equal(first.raw, clusters(1000).half().float()[first.indices])
    assert list(first.ids) == [str(row) for row in first.indices.tolist()]
    assert first.provenance["method"] == method
    if method != "k-means":
        assert select_table(table, method, count=37, shard_rows=60).indices.tolist() == first.indices[:37].tolist()


@pytest.mark.parametrize(("room", "cut"), [(1000, False), (12_000, True)])
def test_a_disk_that_is_full_half_way_loses_nothing(table: FeatureTable, tmp_path: Path, room: int, cut: bool) -> None:
    asked = {"fraction": 0.9, "shard_rows": 60}
    with files_of_at_most(room), pytest.raises(OutputError, match=r"writing .*\n.*larger than the system allows"):
        select_table(table, "k-center", **asked, out=tmp_path / "run")
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert bool(list((tmp_path / "run").rglob("partition.json"))) == cut
    again = select_table(table, "k-center", **asked, out=tmp_path / "run")
    assert torch.equal(again.indices, select_table(table, "k-center", **asked).indices)
    kept = load(tmp_path / "run")
    assert isinstance(kept, Coreset)
    assert torch.equal(kept.indices, again.indices)


def test_another_seed_is_another_draw(table: FeatureTable) -> None:
    first, second = (set(select_table(table, "random", count=50, seed=seed).indices.tolist()) for seed in (0, 1))
    assert first != second


def test_permuting_the_rows_permutes_the_answer(tmp_path: Path) -> None:
    rows, order = clusters(1000).numpy(), np.random.default_rng(0).permutation(1000)
    plain = select_table(written(tmp_path / "a.npy", rows), "k-center", count=60, shard_rows=60)
    permuted = select_table(written(tmp_path / "b.npy", rows[order]), "k-center", count=60, shard_rows=60)
    assert order[permuted.indices.numpy()].tolist() == plain.indices.tolist()
    assert plain.spec.fingerprint == permuted.spec.fingerprint
    changed = rows.copy()
    changed[5, 5] += 1
    assert (
        select_table(written(tmp_path / "c.npy", changed), "random", count=1).spec.fingerprint != plain.spec.fingerprint
    )


def test_with_labels_classes_are_balanced_and_take_turns(tmp_path: Path) -> None:
    labels = (np.arange(1000) % 10 == 0).astype(np.int32)
    table = written(tmp_path / "phi.npy", clusters(1000).numpy(), labels=labels)
    chosen = select_table(table, "k-center", ipc=20, shard_rows=60)
    assert chosen.classes.tolist() == [0, 1] * 20
    assert (chosen.classes.numpy() == labels[chosen.indices.numpy()]).all()
    loose = select_table(table, "k-center", count=40, balance="global", shard_rows=60)
    assert 0 < int(loose.classes.sum()) < 20
    assert chosen.spec.class_names == ("0", "1")


def test_a_floor_per_class_needs_labels(tmp_path: Path) -> None:
    labels = (np.arange(1000) % 50 == 0).astype(np.int32)
    table = written(tmp_path / "phi.npy", clusters(1000).numpy(), labels=labels)
    chosen = select_table(table, "k-center", count=40, balance="floor:5", shard_rows=60)
    assert np.bincount(chosen.classes.numpy()).tolist() == [35, 5]
    assert chosen.provenance["balance"] == "floor:5"
    bare = written(tmp_path / "bare.npy", clusters(1000).numpy())
    with pytest.raises(ConfigError, match=r"(?s)balance='floor:5'.*without labels.*--labels FILE\.npy"):
        select_table(bare, "k-center", count=40, balance="floor:5")


def test_scores_of_a_table_are_told_by_the_name_of_their_file(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    table = written(tmp_path / "phi.npy", clusters(1000).numpy(), scores=values)
    assert table.scores is not None
    chosen = select_table(table, "hardest", count=3)
    assert chosen.reasons is not None
    assert chosen.reasons[0] == f"among the largest values of {table.scores.name}, at {values.max():.4g}"
    assert chosen.provenance["config"]["score"] == table.scores.name
    assert chosen.provenance["scores"] == {"name": table.scores.name, "file": str(table.scores)}
    assert "scores" not in select_table(table, "k-center", count=3, shard_rows=100).provenance


@pytest.mark.parametrize("labelled", [False, True])
def test_equal_scores_are_drawn_by_the_seed_and_not_by_the_file(labelled: bool, tmp_path: Path) -> None:
    scores, labels = (np.arange(60) >= 40).astype(np.float32), np.arange(60) % 2
    columns = {"scores": scores, **({"labels": labels} if labelled else {})}
    table = written(tmp_path / "phi.npy", clusters(60).numpy(), **columns)
    first, again, other = (select_table(table, "easiest", count=8, seed=seed).indices.tolist() for seed in (0, 0, 1))
    assert first == again
    assert set(first) != set(other)
    assert first != list(range(8))
    assert all(scores[row] == 0 for row in (*first, *other))
    assert not labelled or labels[first].tolist() == [0, 1] * 4


def test_by_score_the_whole_table_is_looked_at_at_once(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    table = written(tmp_path / "phi.npy", clusters(1000).numpy(), scores=values)
    chosen = select_table(table, "hardest", count=10)
    assert chosen.indices.tolist() == np.argsort(-values)[:10].tolist()
    strata = select_table(table, Coverage(strata=5), count=100, shard_rows=60)
    plain = Coverage(strata=5).pick(torch.from_numpy(values)[:, None], 100, Streams(0)("select/0"))
    assert strata.indices.tolist() == plain.rows.tolist()
    assert torch.equal(strata.scores, plain.scores)
    assert float(strata.scores.max()) <= np.sort(values)[-101]
    smaller = select_table(table, Coverage(strata=5), count=37)
    assert smaller.indices.tolist() == strata.indices[:37].tolist()


def test_a_stopped_selection_goes_on_with_what_is_finished(table: FeatureTable, tmp_path: Path) -> None:
    whole = select_table(table, "k-center", count=60, shard_rows=60, out=tmp_path / "whole")
    with pytest.raises(StoppedError):
        select_table(table, "k-center", count=60, shard_rows=60, out=tmp_path / "run", engine=Halting(3))
    kept = sorted((tmp_path / "run" / ".decoct-shards").glob("*.safetensors"))
    assert len(kept) == 3
    before = [path.stat().st_mtime_ns for path in kept]
    broken = kept[0]
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(StoppedError):
        select_table(table, "k-center", count=60, shard_rows=60, out=tmp_path / "run", engine=Halting(1))
    assert [path.stat().st_mtime_ns for path in kept][1:] == before[1:]
    resumed = select_table(table, "k-center", count=60, shard_rows=60, out=tmp_path / "run")
    assert resumed.indices.tolist() == whole.indices.tolist()
    saved = load(tmp_path / "run")
    assert isinstance(saved, Coreset)
    assert saved.indices.tolist() == whole.indices.tolist()
    assert not (tmp_path / "run" / ".decoct-shards").exists()


def test_a_second_selection_into_a_folder_that_is_worked_in_is_refused(table: FeatureTable, tmp_path: Path) -> None:
    """The first that ends would remove the shards of the other."""
    out, seen = tmp_path / "run", []

    def second() -> None:
        for count in (60, 50):
            with pytest.raises(OutputError, match=r"(?s)another process works on the same result.*wait until it has"):
                select_table(table, "k-center", count=count, out=out)
            seen.append(count)

    first = select_table(table, "k-center", count=60, out=out, engine=Meanwhile(second))
    assert seen == [60, 50]
    assert first.indices.tolist() == select_table(table, "k-center", count=60).indices.tolist()
    assert not (out / ".decoct-shards").exists()


@pytest.mark.parametrize(("method", "asked"), [("k-center", {"count": 40}), ("random", {"count": 40}),
                                               ("k-center", {"count": 40, "balance": "floor:1"})])  # fmt: skip
def test_a_class_without_rows_gives_none(tmp_path: Path, method: str, asked: dict[str, Any]) -> None:
    labels = 2 * (np.arange(1000) % 2)
    chosen = select_table(written(tmp_path / "phi.npy", clusters(1000).numpy(), labels=labels), method, **asked)
    assert np.bincount(chosen.classes.numpy()).tolist() == [20, 0, 20]
    assert (chosen.classes.numpy() == labels[chosen.indices.numpy()]).all()


def test_picks_of_another_selection_in_the_folder_are_not_taken(table: FeatureTable, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        select_table(table, "k-center", count=60, out=tmp_path / "run", engine=Halting(3))
    other = select_table(table, KCenter(first="random"), count=60, seed=1, out=tmp_path / "run")
    assert other.indices.tolist() == select_table(table, KCenter(first="random"), count=60, seed=1).indices.tolist()


def test_kept_shards_serve_another_method(table: FeatureTable, tmp_path: Path) -> None:
    select_table(table, "k-center", count=60, cache=tmp_path / "cache")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.rows")}
    chosen = select_table(table, "graph-cut", count=60, cache=tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.rows")} == kept
    assert chosen.indices.tolist() == select_table(table, "graph-cut", count=60).indices.tolist()


@pytest.mark.parametrize("lost", ["partition.json", "*.rows", "*.numbers"])
def test_shards_of_which_some_were_removed_are_cut_anew(table: FeatureTable, tmp_path: Path, lost: str) -> None:
    """As a kill leaves them, while they are removed after the coreset was saved."""
    whole = select_table(table, "k-center", count=60, cache=tmp_path / "cache")
    next((tmp_path / "cache").rglob(lost)).unlink()
    again = select_table(table, "k-center", count=60, cache=tmp_path / "cache")
    assert again.indices.tolist() == whole.indices.tolist()
    assert next((tmp_path / "cache").rglob(lost)).exists()


def test_half_a_shard_is_not_picked_from(table: FeatureTable, tmp_path: Path) -> None:
    whole = select_table(table, "k-center", count=60, cache=tmp_path / "cache")
    path = max((tmp_path / "cache").rglob("*.rows"), key=lambda file: file.stat().st_size)
    path.write_bytes(path.read_bytes()[: 12 * 3])
    assert (
        select_table(table, "k-center", count=60, cache=tmp_path / "cache").indices.tolist() == whole.indices.tolist()
    )


def test_units_compute_on_one_thread() -> None:
    before = torch.get_num_threads()
    assert [found for _, found in Local().map(_threads, [0, 1])] == [1, 1]
    assert torch.get_num_threads() == before


def _threads(unit: int) -> int:
    return torch.get_num_threads()


def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match=r"(?s)opening .*none.npy.*cannot be read as .npy"):
        feature_table(tmp_path / "none.npy")
    np.save(tmp_path / "whole.npy", np.ones((4, 3), np.int64))
    with pytest.raises(DataError, match=r"(?s)int64 and shape \[4, 3\].*float16"):
        feature_table(tmp_path / "whole.npy")
    np.save(tmp_path / "turned.npy", np.asfortranarray(np.ones((4, 3), np.float32)))
    with pytest.raises(DataError, match="columns first"):
        feature_table(tmp_path / "turned.npy")
    good = written(tmp_path / "phi.npy", np.ones((9, 6)))
    good.path.write_bytes(good.path.read_bytes()[:-5])
    with pytest.raises(SourceError, match="whole .npy file"):
        feature_table(good.path)
    rows = np.ones((9, 6))
    rows[7, 2] = np.nan
    bad = written(tmp_path / "bad.npy", rows)
    with pytest.raises(DataError, match=r"(?s)NaN, infinity.*in row 7.*repair or drop"):
        select_table(bad, "k-center", count=2, out=tmp_path / "run")
    with pytest.raises(BudgetError, match="10 rows"):
        select_table(written(tmp_path / "few.npy", np.ones((9, 6))), "k-center", count=10)
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: full)
    with pytest.raises(OutputError, match=r"(?s)10 B free.*copy of the rows"):
        select_table(feature_table(tmp_path / "few.npy"), "k-center", count=2)


def test_columns_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    rows = clusters(50).numpy()
    with pytest.raises(MismatchError, match=r"(?s)shape \[49\].*each of the 50 rows"):
        select_table(written(tmp_path / "a.npy", rows, labels=np.zeros(49, np.int64)), "k-center", ipc=1)
    with pytest.raises(DataError, match="from -1 to"):
        select_table(written(tmp_path / "b.npy", rows, labels=np.arange(50) - 1), "k-center", ipc=1)
    with pytest.raises(DataError, match="1 values that are NaN"):
        select_table(written(tmp_path / "c.npy", rows, scores=np.array([np.nan] + [0.0] * 49)), "hardest", count=3)
    with pytest.raises(SourceError, match=r"(?s)without scores.*--scores FILE.npy"):
        select_table(written(tmp_path / "d.npy", rows), "hardest", count=3)
    scored = written(tmp_path / "f.npy", rows, scores=np.arange(50.0))
    with pytest.raises(ConfigError, match=r"(?s)window=5 beside them.*yours is taken as it is"):
        select_table(scored, DynamicUncertainty(window=5), count=3)
    with pytest.raises(ConfigError, match="which does not go by features"):
        select_table(written(tmp_path / "e.npy", rows), "glister", count=3)

"""Work units on a real local cluster of two workers: the same results as in one process, also when a worker dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ray_work import Slow, adding, failing, refused, squared, unmade
from toys import blob_images

from decoct.data.feature_table import FeatureTable, feature_table
from decoct.engine import Engine, Local
from decoct.errors import ConfigError, DataError, MissingExtraError
from decoct.scale import ray_engine as module
from decoct.scale.engines import engine
from decoct.scale.ray_engine import RayEngine, ray_engine
from decoct.selection.driver import select
from decoct.selection.scored import score
from decoct.selection.sharded import partition
from decoct.selection.sharded.driver import select_table

pytestmark = [
    pytest.mark.slow,
    # Of Ray itself, which leaves sockets and files to the collector, and warns of its own future settings.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayEngine]:
    pytest.importorskip("ray")
    with ray_engine(workers=2) as started:
        yield started


def _table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureTable:
    monkeypatch.setattr(partition, "UNIT_BYTES", 4 * 6 * 400)
    centres = 20 * torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    rows = centres[torch.arange(2000) % 9] + torch.randn(2000, 6, generator=torch.Generator().manual_seed(1))
    np.save(folder / "phi.npy", rows.numpy().astype(np.float16))
    return feature_table(folder / "phi.npy")


def test_a_worker_that_is_killed_changes_nothing(cluster: RayEngine, tmp_path: Path) -> None:
    units, waiting, killed = [Slow(str(tmp_path), number) for number in range(5)], tmp_path / "2.pid", []

    def kill() -> None:
        while not (waiting.exists() and waiting.read_text()):
            time.sleep(0.05)
        killed.append(int(waiting.read_text()))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert dict(cluster.map(squared, units)) == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
    killer.join(timeout=60)
    assert killed
    assert int(waiting.read_text()) != killed[0], "another worker did it again"


@pytest.mark.parametrize("method", ["k-center", "facility-location"])
def test_sharded_selection_gives_the_ids_of_one_process(
    cluster: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    table = _table(tmp_path, monkeypatch)
    alone = select_table(table, method, fraction=0.05, shard_rows=150)
    many = select_table(table, method, fraction=0.05, shard_rows=150, engine=cluster)
    assert alone.indices.tolist() == many.indices.tolist()
    assert torch.equal(alone.weights, many.weights)


def test_embedding_and_classes_give_the_ids_of_one_process(cluster: RayEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.selection.features.BLOCK", 16)
    monkeypatch.setattr("decoct.training.expert.short_training", lambda rows: 1)
    data = blob_images(classes=3, per_class=20)
    picked = [select(data, "k-center", ipc=4, features="network", engine=own) for own in (None, cluster)]
    assert picked[0].indices.tolist() == picked[1].indices.tolist()
    assert torch.equal(picked[0].scores, picked[1].scores)


def test_scoring_gives_the_numbers_of_one_process(cluster: RayEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.training.looks.BLOCK", 16)
    data = blob_images(classes=3, per_class=20)
    tables = [score(data, epochs=2, device="cpu", engine=own)[0] for own in (None, cluster)]
    assert all(torch.equal(tables[0].columns[name], tables[1].columns[name]) for name in tables[0].columns)


def test_rows_come_back_in_their_order_in_blocks_that_do_not_depend_on_workers(cluster: RayEngine) -> None:
    rows = np.random.default_rng(0).standard_normal((103, 4)).astype(np.float32)
    both: list[Engine] = [Local(), cluster]
    found = [own.over(adding, {"amount": 2.0}, rows, 10) for own in both]
    assert (found[0] == found[1]).all()
    assert found[1][:, 1].tolist() == [10] * 100 + [3] * 3


def test_errors_of_a_unit_arrive_as_they_were_raised(cluster: RayEngine) -> None:
    with pytest.raises(DataError, match=r"(?s)doing a unit.*received: unit 0.*what to do: ask for another"):
        list(cluster.map(refused, [0]))


def test_errors_of_work_on_rows_arrive_as_they_were_raised(cluster: RayEngine) -> None:
    rows = np.zeros((4, 2))
    with pytest.raises(DataError, match=r"(?s)making the function.*received: 3.*what to do: ask for less"):
        cluster.over(unmade, {"amount": 3}, rows, 2)
    with pytest.raises(DataError, match=r"(?s)looking at rows.*received: 2 rows.*what to do: give fewer"):
        cluster.over(failing, {"kind": "typed"}, rows, 2)


def test_a_cluster_that_does_not_answer_and_no_workers_are_refused() -> None:
    with pytest.raises(ConfigError, match="workers=0"), ray_engine(workers=0):
        pass


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"decoct\[ray\]"):
        module.import_ray()
    with engine("local") as own:
        assert isinstance(own, Local)

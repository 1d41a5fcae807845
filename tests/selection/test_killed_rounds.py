"""Rounds of active learning that were killed go on after the last finished one, and end with the same rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import blob_features

from decoct.compact.coreset import Coreset
from decoct.selection.active import Active
from decoct.selection.deepdistal import DeepDistal
from decoct.selection.driver import select
from decoct.training.batches import Batches
from decoct.training.halfway import Halfway

DATA = blob_features(classes=3, per_class=14)
PASSES = 4
QUICK = Active(rounds=3, epochs=PASSES, steps=1, explore=0.5)
METHODS = {
    "active": QUICK,
    "committee": replace(QUICK, strategy="vote-entropy", networks=2),
    "deepdistal": DeepDistal(rounds=3, epochs=PASSES, steps=1),
}


class Killed(BaseException):
    """The end of the process."""


class Passes:
    """The passes that were begun, one of which ends the process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.last = 0
        whole = Batches.of_pass

        def of_pass(batches: Batches, epoch: int):
            self.begun += 1
            if self.begun == self.last:
                raise Killed
            return whole(batches, epoch)

        monkeypatch.setattr(Batches, "of_pass", of_pass)

    def of(self, work) -> tuple[Coreset, int]:
        """What comes of it, and the passes that it took."""
        self.begun = 0
        return work(), self.begun

    def kill(self, last: int, work) -> None:
        self.begun, self.last = 0, last
        with pytest.raises(Killed):
            work()
        self.last = 0


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    return Passes(monkeypatch)


def require_same(one: Coreset, other: Coreset) -> None:
    assert one.indices.tolist() == other.indices.tolist()
    assert torch.equal(one.scores, other.scores)
    assert one.reasons is not None
    assert other.reasons is not None
    assert one.reasons.tolist() == other.reasons.tolist()
    assert one.provenance["record"] == other.provenance["record"]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("balance", ["class", "global"])
def test_the_loop_goes_on_after_the_last_finished_round(tmp_path, passes, name, balance):
    method = METHODS[name]

    def work(cache: Path | None) -> Coreset:
        return select(DATA, method, count=18, balance=balance, cache=cache)

    whole, all_passes = passes.of(lambda: work(None))
    assert all_passes == 3 * PASSES * (2 if name == "committee" else 1)
    # In the last pass of the third round: what two rounds chose is kept, and no pass of the third is due yet.
    passes.kill(all_passes, lambda: work(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1
    resumed, made = passes.of(lambda: work(tmp_path))
    assert made == all_passes // 3
    require_same(resumed, whole)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("features", ["auto", "array"])
def test_the_training_of_a_round_goes_on_after_its_last_saved_pass(tmp_path, passes, monkeypatch, features):
    monkeypatch.setattr(Halfway, "due", True)
    compared = torch.randn(42, 2, generator=torch.Generator().manual_seed(0)) if features == "array" else features

    def work(cache: Path | None) -> Coreset:
        return select(DATA, QUICK, count=18, features=compared, cache=cache)

    whole, all_passes = passes.of(lambda: work(None))
    passes.kill(all_passes - 1, lambda: work(tmp_path))
    resumed, made = passes.of(lambda: work(tmp_path))
    assert made == 2
    require_same(resumed, whole)
    assert list(tmp_path.iterdir()) == []


def test_rounds_of_another_question_or_a_damaged_file_are_not_used(tmp_path, passes):
    whole, all_passes = passes.of(lambda: select(DATA, QUICK, count=18))
    passes.kill(all_passes, lambda: select(DATA, QUICK, count=18, cache=tmp_path))
    [path] = tmp_path.iterdir()
    mine = path.read_bytes()
    others: list[dict[str, Any]] = [{"count": 17}, {"count": 18, "seed": 1}, {"count": 18, "balance": "global"}]
    for other in others:
        core, made = passes.of(lambda other=other: select(DATA, QUICK, cache=tmp_path, **other))
        assert made == all_passes, other
        require_same(core, select(DATA, QUICK, **other))
    core, made = passes.of(lambda: select(DATA, replace(QUICK, spread=2.0), count=18, cache=tmp_path))
    assert made == all_passes
    assert path.read_bytes() == mine
    foreign = tmp_path / "foreign"
    passes.kill(all_passes, lambda: select(DATA, QUICK, count=18, seed=1, cache=foreign))
    [theirs] = foreign.iterdir()
    for damaged in (theirs.read_bytes(), mine[:-1] + bytes([mine[-1] ^ 1]), mine[:200]):
        path.write_bytes(damaged)
        core, made = passes.of(lambda: select(DATA, QUICK, count=18, cache=tmp_path))
        assert made == all_passes
        require_same(core, whole)
        assert not path.exists()

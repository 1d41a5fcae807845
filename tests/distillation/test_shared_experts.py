"""Experts in a folder that several runs share."""

from __future__ import annotations

from dataclasses import replace

import torch
from toys import blob_images

from decoct.distillation.driver import distill
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.trajectory import Trajectory
from decoct.distillation.recipe import Recipe
from decoct.distillation.storage.pixels import Pixels
from decoct.training.config import FitConfig
from decoct.training.trajectories import Trajectories

EXPERT = FitConfig(lr=0.05, momentum=0.0, weight_decay=0.0, epochs=4, batch_size=16, schedule="constant")
MATCHING = Trajectory(inner_steps=4, expert_epochs=2, max_start_epoch=2, experts=2, expert=EXPERT, inner_lr=0.05)


def test_a_folder_of_experts_is_shared_by_runs_of_other_sizes_and_recipes(tmp_path, monkeypatch):
    data = blob_images(per_class=10)
    trained, plain = [], Trajectories._trajectories

    def counted(self: Trajectories, seeds: list[int], *rest: object) -> object:
        trained.extend(seeds)
        return plain(self, seeds, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Trajectories, "_trajectories", counted)
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)
    point = Recipe(Pixels(), MATCHING, Hard(), lr=0.01)
    other = replace(point, objective=replace(MATCHING, mode="first-order", inner_steps=2))
    shared, options = tmp_path / "experts", {"steps": 2, "network": "convnet2-w4", "device": "cpu"}
    small = None
    for number, (ipc, asked) in enumerate([(1, point), (2, point), (2, other)]):
        small = distill(data, asked, ipc=ipc, out=tmp_path / f"{number}", experts=shared, **options)  # type: ignore[arg-type]
        assert len(set(trained)) == len(trained) == 2, "the first run trained them for all"
        assert not (tmp_path / f"{number}" / "experts").exists()
    assert small is not None
    alone = distill(data, other, ipc=2, **options)  # type: ignore[arg-type]
    assert len(trained) == 4
    assert torch.equal(alone.decode(), small.decode())
    distill(data, other, ipc=2, experts=shared, **options)  # type: ignore[arg-type]
    assert len(trained) == 4, "a run without a folder of its own reads them too"

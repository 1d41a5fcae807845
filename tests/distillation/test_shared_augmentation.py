"""Real and synthetic rows of a step are changed alike: where both are the same rows, networks see the same twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toys import blob_images

from decoct.distillation.objective.characteristic import Characteristic
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.objective.implicit import Implicit, Linearised
from decoct.distillation.objective.random_features import RandomFeatures
from decoct.distillation.objective.ridge import Ridge
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.queue import QueueConfig
from decoct.streams import Streams

STEPS = 4
DATA = blob_images(shape=(3, 8, 8))
ROWS, LABELS = DATA.inputs(DATA.train, slice(0, 12)), DATA.train.labels(slice(0, 12))
QUEUE = QueueConfig(size=2, start=2, warm_steps=0, trained_per_step=0)


class Fed:
    """What goes into a network, beside what the embedder makes of it."""

    def __init__(self, inner: Any, seen: list[Tensor]) -> None:
        self._inner, self._seen = inner, seen

    def __call__(self, inputs: Tensor, module: nn.Module) -> Tensor:
        self._seen.append(inputs.detach().clone())
        return self._inner(inputs, module)

    def differentiable(self, inputs: Tensor, module: nn.Module) -> Tensor:
        self._seen.append(inputs.detach().clone())
        return self._inner.differentiable(inputs, module)


def same_rows() -> Synthetic:
    """The real rows as synthetic ones."""
    return Synthetic(ROWS.clone().requires_grad_(True), F.one_hot(LABELS, 3).float(), LABELS)


def state_of(objective: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, RealSource]:
    """Its state, with a source of real data that always gives the same rows."""
    monkeypatch.setattr(RealSource, "batch", lambda *_: (ROWS, LABELS))
    monkeypatch.setattr(RealSource, "per_class", lambda *_: (ROWS, LABELS))
    problem = Problem(DATA, 4, "convnet2-w4", "cpu", "color_crop_cutout_flip_scale_rotate", 0.0)
    return objective.init(problem, Streams(3)), RealSource(DATA, "cpu", torch.Generator())


def fed(state: Any, real: RealSource, step: Callable[[], object]) -> tuple[list[Tensor], list[Tensor]]:
    """What the embedders of the real and of the synthetic rows are fed by a step."""
    sides: tuple[list[Tensor], list[Tensor]] = ([], [])
    inner = state._real_embed, state._embed
    state._real_embed, state._embed = (Fed(own, seen) for own, seen in zip(inner, sides, strict=True))
    step()
    state._real_embed, state._embed = inner
    return sides


@pytest.mark.parametrize(
    "objective",
    [
        Ridge(pool=2), RandomFeatures(networks=2, augmented=True),
        Distribution(networks="queue", queue=QUEUE), Characteristic(frequencies=4, queue=QUEUE),
    ],
    ids=["ridge", "random-features", "idm", "ncfm"],
)  # fmt: skip
def test_both_sides_of_a_step_are_changed_alike(objective, monkeypatch):
    state, real = state_of(objective, monkeypatch)
    steps = [fed(state, real, lambda: state.loss(same_rows(), real)) for _ in range(STEPS)]
    for ours, theirs in steps:
        assert len(ours) == len(theirs) == (2 if isinstance(objective, RandomFeatures) else 1)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    changed = [ours[0] for ours, _ in steps if not torch.equal(ours[0], ROWS)]
    assert len(changed) >= STEPS - 1, "a draw may leave everything as it is"
    assert not torch.equal(changed[0], changed[-1]), "each step has a draw of its own"


def test_both_sides_of_an_implicit_step_are_changed_alike(monkeypatch):
    state, real = state_of(Implicit(pool=2, inner_steps=1, hvp_steps=1, augmented=True), monkeypatch)
    seen: list[Tensor] = []
    run = Linearised.run
    monkeypatch.setattr(Linearised, "run", lambda own, w, x: seen.append(x.detach().clone()) or run(own, w, x))
    for _ in range(STEPS):
        state.loss(same_rows(), real)
    assert len(seen) == 3 * STEPS, "the first network on the synthetic rows, the moved one on real and synthetic ones"
    for first, ours, theirs in zip(seen[::3], seen[1::3], seen[2::3], strict=True):
        assert torch.equal(first, ours)
        assert torch.equal(ours, theirs)
    assert sum(not torch.equal(rows, ROWS) for rows in seen[::3]) >= STEPS - 1


@pytest.mark.parametrize(
    "objective",
    [
        RandomFeatures(networks=1, pool=1, renew_every=100, augmented=True),
        Distribution(networks="queue", queue=QueueConfig(size=1, start=1, trained_per_step=0), keep_real=True),
        Characteristic(frequencies=4, queue=QueueConfig(size=1, start=1, trained_per_step=0), keep_real=True),
    ],
    ids=["random-features", "idm", "ncfm"],
)
def test_synthetic_rows_are_changed_as_the_real_ones_were_that_are_kept(objective, monkeypatch):
    state, real = state_of(objective, monkeypatch)
    (kept,), (first,) = fed(state, real, lambda: state.loss(same_rows(), real))
    assert not torch.equal(kept, ROWS)
    assert torch.equal(kept, first)
    for _ in range(2):
        ours, (theirs,) = fed(state, real, lambda: state.loss(same_rows(), real))
        assert ours == []
        assert torch.equal(kept, theirs)


def test_classes_of_a_queue_have_draws_of_their_own(monkeypatch):
    """One image as a row of every class comes out in as many ways."""
    state, real = state_of(Distribution(networks="queue", queue=QUEUE), monkeypatch)
    one = ROWS[:1].expand(len(ROWS), -1, -1, -1)
    monkeypatch.setattr(RealSource, "per_class", lambda *_: (one, LABELS))
    (ours,), _ = fed(state, real, lambda: state.loss(same_rows(), real))
    assert [len(ours[label == LABELS].unique(dim=0)) for label in range(3)] == [1, 1, 1]
    assert len(ours.unique(dim=0)) == 3

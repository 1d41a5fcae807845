"""Real and synthetic rows of a step are changed alike: where both are the same rows, networks see the same twice.

What networks learn from between the steps, or inside of them, has draws of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toys import blob_images

from decoct.distillation.apprentice import Apprentice
from decoct.distillation.objective.characteristic import Characteristic
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.objective.gradient import Gradient
from decoct.distillation.objective.implicit import Implicit, Linearised
from decoct.distillation.objective.random_features import RandomFeatures
from decoct.distillation.objective.ridge import Ridge
from decoct.distillation.objective.trajectory import Trajectory
from decoct.distillation.objective.unroll import Unroll
from decoct.distillation.pool import Pool
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.queue import QueueConfig
from decoct.streams import Streams
from decoct.training.fast import FastGradient
from decoct.training.flat import FlatNetwork
from decoct.training.trajectories import Trajectories

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


ONE = ROWS[:1].expand(len(ROWS), -1, -1, -1)
"""One image as every row: whatever comes out of it in another way was changed otherwise."""


def one_image() -> Synthetic:
    return Synthetic(ONE.clone().requires_grad_(True), F.one_hot(LABELS, 3).float(), LABELS)


def all_differ(seen: list[Tensor]) -> bool:
    return not any(torch.equal(a, b) for k, a in enumerate(seen) for b in seen[:k])


def learned_from(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Tensor], list[Tensor]]:
    """What will enter networks whose weights are a vector, and those whose gradient is taken in pieces."""
    inner: list[Tensor] = []
    outer: list[Tensor] = []
    logits, gradient = FlatNetwork.logits, FastGradient.__call__

    def seen_logits(own: FlatNetwork, theta: Tensor, x: Tensor) -> Tensor:
        inner.append(x.detach().clone())
        return logits(own, theta, x)

    def seen_gradient(own: FastGradient, module: nn.Module, x: Tensor, *targets: Tensor) -> Tensor:
        outer.append(x.detach().clone())
        return gradient(own, module, x, *targets)

    monkeypatch.setattr(FlatNetwork, "logits", seen_logits)
    monkeypatch.setattr(FastGradient, "__call__", seen_gradient)
    return inner, outer


def test_unrolled_steps_and_the_real_rows_after_them_have_a_draw_for_each_row(monkeypatch):
    state, real = state_of(Unroll(inner_steps=4, augment="independent", mode="full"), monkeypatch)
    monkeypatch.setattr(RealSource, "batch", lambda *_: (ONE, LABELS))
    inner, outer = learned_from(monkeypatch)
    for _ in range(2):
        state.loss(one_image(), real)
    assert (len(inner), len(outer)) == (8, 2)
    assert all_differ([*inner, *outer]), "each inner step, the real rows, and the next outer step"
    assert all(len(rows.unique(dim=0)) > len(ROWS) // 2 for rows in (*inner, *outer))


def test_a_pair_is_one_draw_for_all_inner_steps_and_the_real_rows(monkeypatch):
    state, real = state_of(Unroll(inner_steps=3, mode="full"), monkeypatch)
    inner, outer = learned_from(monkeypatch)
    for _ in range(STEPS):
        state.loss(same_rows(), real)
    for step in range(STEPS):
        assert all(torch.equal(outer[step], rows) for rows in inner[3 * step : 3 * step + 3])
    assert sum(not torch.equal(rows, ROWS) for rows in outer) >= STEPS - 1
    assert not torch.equal(outer[0], outer[-1])


def test_steps_along_a_trajectory_have_a_draw_each_of_one_family(monkeypatch):
    state, real = state_of(Trajectory(inner_steps=4, mode="full", experts=1), monkeypatch)
    monkeypatch.setattr(Trajectories, "at", lambda *_: state._flat.flatten(state._flat.module))
    inner, _ = learned_from(monkeypatch)
    for _ in range(2):
        state.loss(one_image(), real)
    assert len(inner) == 8
    assert all_differ(inner)
    assert sum(len(rows.unique(dim=0)) > 1 for rows in inner) >= 7, "rows are changed each by itself"


@pytest.mark.parametrize("objective", [Ridge(pool=2), Implicit(pool=2, inner_steps=1, hvp_steps=1, augmented=True)],
                         ids=["ridge", "rcig"])  # fmt: skip
def test_the_pool_learns_from_a_second_draw(objective, monkeypatch):
    state, real = state_of(objective, monkeypatch)
    seen: list[Tensor] = []
    drawn: list[Tensor] = []
    monkeypatch.setattr(Pool, "train", lambda own, place, images, targets: seen.append(images))
    apply = state._siamese.apply
    object.__setattr__(state._siamese, "apply", lambda x, drawn_: drawn.append(apply(x, drawn_)) or drawn[-1])
    for _ in range(2 * STEPS):
        state.loss(same_rows(), real)
        state.advance(same_rows(), real)
    matched = drawn[::3]
    assert len(seen) == len(matched) == 2 * STEPS
    assert sum(not torch.equal(rows, ROWS) for rows in seen) >= 2 * STEPS - 2
    assert sum(not torch.equal(mine, theirs) for mine, theirs in zip(seen, matched, strict=True)) >= 2 * STEPS - 1
    assert not any(torch.equal(a, b) for a, b in pairwise(seen))


@pytest.mark.parametrize("every", [False, True])
def test_the_network_between_steps_of_gradients_learns_from_a_draw_each_time(every, monkeypatch):
    state, _ = state_of(Gradient(inner_epochs=4, every_family=every), monkeypatch)
    apprentice: Apprentice = state._apprentice
    _, seen = learned_from(monkeypatch)
    for _ in range(2):
        apprentice.learn(ONE, F.one_hot(LABELS, 3).float(), 4)
    assert len(seen) == 8
    assert all_differ(seen)
    assert sum(len(rows.unique(dim=0)) > 1 for rows in seen) >= 7, "rows are changed each by itself"

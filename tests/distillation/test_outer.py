"""The outer optimiser: rates by group, clipping, an exact resume."""

from __future__ import annotations

import pytest
import torch

from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.nothing import Nothing
from decoct.distillation.outer import Outer
from decoct.distillation.recipe import Recipe
from decoct.distillation.storage.pixels import Pixels


def outer(**settings: object) -> tuple[Outer, torch.Tensor, torch.Tensor]:
    images, labels = torch.zeros(4, requires_grad=True), torch.zeros(2, requires_grad=True)
    recipe = Recipe(Pixels(), Nothing(), Hard(), **settings)  # type: ignore[arg-type]
    return Outer(recipe, {"pixels": images}, {"labels": labels}, {}), images, labels


def test_images_and_labels_move_at_their_own_rates_down_a_cosine():
    moved, images, labels = outer(optimizer="sgd", momentum=0.0, lr=1.0, lr_labels=0.1, schedule="cosine")
    for share, factor in ((0.0, 1.0), (1.0, 0.1)):
        before = images.detach().clone(), labels.detach().clone()
        moved.schedule(share)
        images.grad, labels.grad = torch.ones(4), torch.ones(2)
        moved.step()
        assert torch.allclose(before[0] - images.detach(), torch.full((4,), factor))
        assert torch.allclose(before[1] - labels.detach(), torch.full((2,), 0.1 * factor))


def test_step_sizes_halve_after_every_tenth_of_the_run():
    moved, images, _ = outer(optimizer="sgd", momentum=0.0, lr=1.0, schedule="halved")
    for share, factor in ((0.0, 1.0), (0.099, 1.0), (0.1, 0.5), (0.35, 0.125), (0.99, 0.5**9)):
        before = images.detach().clone()
        moved.schedule(share)
        images.grad = torch.ones(4)
        moved.step()
        assert torch.allclose(before - images.detach(), torch.full((4,), factor))


def test_the_norm_is_bounded():
    moved, images, _ = outer(optimizer="sgd", momentum=0.0, lr=1.0, clip_norm=1.0)
    images.grad = torch.full((4,), 100.0)
    moved.step()
    assert float(images.detach().norm()) == pytest.approx(1.0, rel=1e-4)


def test_a_gradient_far_above_its_running_mean_is_cut_back_and_one_that_exploded_is_left_out():
    moved, images, _ = outer(optimizer="sgd", momentum=0.0, lr=1.0, clip_ema=2.0)
    for size, expected in ((1.0, 1.0), (1.0, 1.0), (50.0, 2.0), (torch.inf, 0.0), (torch.nan, 0.0), (1.0, 1.0)):
        before = images.detach().clone()
        images.grad = torch.tensor([size, 0.0, 0.0, 0.0])
        moved.step()
        assert float((images.detach() - before).norm()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_that_exploded_moves_labels_and_settings_as_little_as_images(optimizer):
    moved, images, labels = outer(optimizer=optimizer, clip_ema=2.0)
    images.grad, labels.grad = torch.ones(4), torch.ones(2)
    moved.step()
    before = images.detach().clone(), labels.detach().clone()
    images.grad, labels.grad = torch.full((4,), torch.nan), torch.full((2,), torch.nan)
    moved.step()
    assert torch.equal(images.detach(), before[0])
    assert torch.equal(labels.detach(), before[1])


def test_the_state_goes_on_with_the_same_bits():
    one, images, _ = outer(lr=0.1, clip_ema=2.0)
    images.grad = torch.ones(4)
    one.step()
    two, other, _ = outer(lr=0.1, clip_ema=2.0)
    two.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    with torch.no_grad():
        other.copy_(images)
    for moved, tensor in ((one, images), (two, other)):
        tensor.grad = torch.tensor([9.0, 1.0, -1.0, 0.0])
        moved.step()
    assert torch.equal(images, other)

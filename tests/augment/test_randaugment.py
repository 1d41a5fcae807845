"""RandAugment: what each change does, and that a draw can be made again."""

from __future__ import annotations

import math

import pytest
import torch

from decoct.augment import families
from decoct.augment.randaugment import CHANGES, RandAugment, change
from decoct.errors import ConfigError

IMAGES = torch.rand(6, 3, 9, 12, generator=torch.Generator().manual_seed(0)) * 4 - 2
NONE, ALL = torch.zeros(6, dtype=torch.bool), torch.ones(6, dtype=torch.bool)


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in ("posterise", "stretch")])
def test_no_strength_changes_nothing(name: str) -> None:
    torch.testing.assert_close(change(IMAGES, name, 0.0, NONE), IMAGES, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "identity"])
def test_every_change_keeps_the_shape_and_changes_the_picture(name: str) -> None:
    made = change(IMAGES, name, 1.0, NONE)
    assert made.shape == IMAGES.shape
    assert made.dtype == torch.float32
    assert torch.isfinite(made).all()
    assert not torch.allclose(made, IMAGES)


def test_closed_forms() -> None:
    low = IMAGES.amin((1, 2, 3), keepdim=True)
    high = IMAGES.amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close(change(IMAGES, "solarise", 1.0, NONE), high + low - IMAGES)
    torch.testing.assert_close(change(IMAGES, "brightness", 1.0, ALL), low + 0.1 * (IMAGES - low))
    mean = IMAGES.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(change(IMAGES, "contrast", 1.0, NONE), mean + 1.9 * (IMAGES - mean))
    gray = IMAGES.mean(1, keepdim=True)
    torch.testing.assert_close(change(IMAGES, "colour", 0.5, NONE), gray + 1.45 * (IMAGES - gray))
    turned = families.rotate(IMAGES, torch.full((6,), -math.radians(30.0)))
    torch.testing.assert_close(change(IMAGES, "rotate", 1.0, ALL), turned)
    stretched = change(IMAGES, "stretch", 1.0, NONE)
    torch.testing.assert_close(stretched.amin((2, 3)), low[:, :, 0, 0].expand(6, 3))
    torch.testing.assert_close(stretched.amax((2, 3)), high[:, :, 0, 0].expand(6, 3))
    posterised = change(IMAGES, "posterise", 1.0, NONE)
    assert all(len(image.unique()) <= 16 for image in posterised)


def test_shifts_move_whole_pixels_and_fill_with_zeros() -> None:
    """At full strength ten pixels of 32: round(12 * 10 / 32) = 4 across, round(9 * 10 / 32) = 3 down."""
    right = change(IMAGES, "shift-x", 1.0, NONE)
    torch.testing.assert_close(right[..., :-4], IMAGES[..., 4:])
    assert (right[..., -4:] == 0).all()
    down = change(IMAGES, "shift-y", 1.0, ALL)
    torch.testing.assert_close(down[..., 3:, :], IMAGES[..., :-3, :])
    assert (down[..., :3, :] == 0).all()


def test_a_shear_moves_each_row_in_proportion_to_its_height() -> None:
    """Along x by 0.3 times the distance from the middle row, in pixels; bright column in the middle of an odd side."""
    image = torch.zeros(1, 1, 21, 21)
    image[..., 10] = 1
    sheared = change(image, "shear-x", 1.0, torch.tensor([False]))[0, 0]
    columns = torch.arange(21.0)
    centres = (sheared * columns).sum(1) / sheared.sum(1)
    rows = torch.arange(21.0) - 10
    torch.testing.assert_close(centres, 10 - 0.3 * rows, atol=1e-3, rtol=1e-3)


def test_the_same_generator_gives_the_same_pictures_whatever_came_out() -> None:
    first, second = drawn(1), drawn(1)
    one, two = RandAugment()(IMAGES, first), RandAugment()(IMAGES, second)
    assert torch.equal(one, two)
    RandAugment()(IMAGES * 0, drawn(1))
    assert torch.equal(first.get_state(), second.get_state())
    assert not torch.equal(one, RandAugment()(IMAGES, drawn(2)))


def test_gradients_reach_the_images() -> None:
    images = IMAGES.clone().requires_grad_(True)
    RandAugment(changes=1)(images, drawn(3)).sum().backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()


def test_one_channel_and_no_images() -> None:
    assert RandAugment()(IMAGES[:, :1], drawn(0)).shape == (6, 1, 9, 12)
    assert RandAugment()(IMAGES[:0], drawn(0)).shape == (0, 3, 9, 12)


@pytest.mark.parametrize("options", [{"changes": 0}, {"strength": -1.0}, {"strength": 11.0}])
def test_settings_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="at least 1 change of a strength from 0 to 10"):
        RandAugment(**options)  # type: ignore[arg-type]


def test_features_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"inputs of shape \[4, 5\]"):
        RandAugment()(torch.zeros(4, 5), drawn(0))

"""Differentiable siamese augmentation: closed forms, gradients, replay, and sharing between batches."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from decoct.augment import families
from decoct.augment.siamese import DSA, FAMILIES, IDENTITY, Parameters, Siamese, expand
from decoct.errors import ConfigError

SHAPE = (3, 8, 6)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 4, shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(count, *shape, generator=generator(9), dtype=torch.float64).to(dtype)


def drawn(family: str, count: int = 1, per_sample: bool = False, seed: int = 1) -> tuple[Siamese, Parameters]:
    siamese = Siamese(family, per_sample=per_sample, flip=1.0 if family == "flip" else 0.5)
    return siamese, siamese.draw(count, SHAPE, generator(seed))


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_of_each_family_is_its_slope(family, per_sample):
    siamese, parameters = drawn(family, 2, per_sample)
    x = images(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: siamese.apply(x, parameters), (x,))
    assert torch.autograd.grad(siamese.apply(x, parameters).sum(), x)[0].abs().sum() > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_changes_images_and_keeps_their_kind(family):
    siamese, parameters = drawn(family, 4, per_sample=True)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        out = siamese.apply(images(dtype=dtype), parameters)
        assert out.dtype == dtype
        assert out.shape == (4, *SHAPE)
        assert not torch.equal(out, images(dtype=dtype))
    x = images()
    torch.testing.assert_close(
        siamese.apply(x.float(), parameters).double(), siamese.apply(x, parameters), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("options", [{}, {"per_sample": True}, {"per_sample": True, "one_family": True}])
def test_the_same_generator_and_a_replay_give_the_same_bits(options):
    siamese, x = Siamese(**options), images(12)
    before = torch.random.get_rng_state()
    first, second = siamese(x, generator(3)), siamese(x, generator(3))
    parameters = siamese.draw(12, SHAPE, generator(3))
    assert torch.equal(first, second)
    assert torch.equal(siamese.apply(x, parameters), first)
    assert torch.equal(siamese.apply(x, parameters), first)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("family", FAMILIES)
def test_siamese_batches_of_different_size_get_the_same_change(family):
    siamese, parameters = drawn(family)
    real, synthetic = images(9), images(9)[:2]
    assert len(parameters) == 1
    torch.testing.assert_close(siamese.apply(real, parameters)[:2], siamese.apply(synthetic, parameters))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 20), strategy=st.sampled_from([DSA, "crop_cutout", "color"]))
def test_per_sample_equals_one_image_at_a_time(seed, count, strategy):
    siamese = Siamese(strategy, per_sample=True)
    x, parameters = images(count), siamese.draw(count, SHAPE, generator(seed))
    alone = [siamese.apply(x[i : i + 1], parameters.take(torch.tensor([i]))) for i in range(count)]
    torch.testing.assert_close(siamese.apply(x, parameters), torch.cat(alone))


def test_images_of_a_class_share_the_change_of_their_class():
    siamese, x, classes = Siamese(per_sample=True), images(1).expand(6, -1, -1, -1), torch.tensor([2, 0, 1, 0, 2, 1])
    sets = siamese.draw(3, SHAPE, generator(5))
    out = siamese.apply(x, expand(sets, classes))
    for c in range(3):
        alone = siamese.apply(x[:1], sets.take(torch.tensor([c])))
        torch.testing.assert_close(out[classes == c], alone.expand(2, -1, -1, -1))
    assert not torch.allclose(out[0], out[1])
    shared = Siamese().draw(3, SHAPE, generator(5))
    assert expand(shared, classes) is shared


def test_one_family_for_the_batch_but_parameters_for_each_image():
    one = Siamese(per_sample=True, one_family=True).draw(50, SHAPE, generator(0))
    many = Siamese(per_sample=True).draw(50, SHAPE, generator(0))
    assert len(one.family.unique()) == 1
    assert len(many.family.unique()) == 6
    assert len(one.radians.unique()) == 50


def test_families_are_chosen_uniformly_and_values_fill_their_ranges():
    p = Siamese(per_sample=True).draw(6000, (3, 32, 20), generator(0))
    counts = torch.bincount(p.family, minlength=6)
    assert ((counts - 1000).abs() < 5 * math.sqrt(1000)).all()
    assert abs(p.flipped.float().mean() - 0.5) < 0.04
    for values, low, high in [
        (p.scale, 1 / 1.2, 1.2),
        (p.radians, -math.radians(15), math.radians(15)),
        (p.brightness, -0.5, 0.5),
        (p.saturation, 0.0, 2.0),
        (p.contrast, 0.5, 1.5),
    ]:
        assert low - 1e-6 <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high + 1e-6
    assert [p.shift[:, axis].unique().tolist() for axis in (0, 1)] == [list(range(-4, 5)), list(range(-3, 4))]
    assert [p.centre[:, axis].unique().tolist() for axis in (0, 1)] == [list(range(33)), list(range(21))]
    assert p.box == (16, 10)
    odd = Siamese(per_sample=True).draw(500, (3, 10, 10), generator(0))
    assert odd.box == (5, 5)
    assert odd.centre.max() == 9


def test_what_is_drawn_does_not_depend_on_what_came_out():
    states = []
    for strategy in (DSA, "flip", "none"):
        gen = generator(4)
        Siamese(strategy, per_sample=True).draw(7, SHAPE, gen)
        states.append(gen.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_flipping_twice_is_nothing_and_once_mirrors_columns():
    x, yes, no = images(), torch.tensor([True]), torch.tensor([False])
    assert torch.equal(families.flip(families.flip(x, yes), yes), x)
    assert torch.equal(families.flip(x, yes)[..., 0], x[..., -1])
    assert torch.equal(families.flip(x, no), x)


def test_no_rotation_and_no_scale_are_nothing():
    x = images()
    torch.testing.assert_close(families.rotate(x, torch.zeros(1)), x)
    torch.testing.assert_close(families.scale(x, torch.ones(1, 2)), x)


def test_a_right_angle_turns_anticlockwise_even_when_not_square():
    square = images(2, (1, 6, 6))
    torch.testing.assert_close(
        families.rotate(square, torch.tensor([math.pi / 2], dtype=torch.float64)), square.rot90(1, (2, 3))
    )
    wide = torch.zeros(1, 1, 5, 9, dtype=torch.float64)
    wide[0, 0, 2, 6] = 1
    turned = torch.zeros_like(wide)
    turned[0, 0, 0, 4] = 1
    torch.testing.assert_close(families.rotate(wide, torch.tensor([math.pi / 2], dtype=torch.float64)), turned)


def test_half_scale_enlarges_twice():
    x = images(2, (1, 8, 8))
    out = families.scale(x, torch.full((1, 2), 0.5))
    torch.testing.assert_close(out, F.interpolate(x, scale_factor=2, mode="bilinear")[..., 4:12, 4:12])


def test_scale_acts_on_height_and_width_apart():
    rows = torch.arange(6.0).reshape(1, 1, 6, 1).expand(1, 1, 6, 4).contiguous()
    torch.testing.assert_close(families.scale(rows, torch.tensor([[1.0, 0.7]])), rows)
    assert not torch.allclose(families.scale(rows, torch.tensor([[0.7, 1.0]])), rows)


def test_a_crop_moves_a_pixel_where_it_should():
    x = torch.zeros(2, 1, 5, 6)
    x[:, 0, 3, 1] = 1
    for shift in (torch.tensor([[2, -1]]), torch.tensor([[2, -1], [2, -1]])):
        out = families.crop(x, shift)
        assert out[:, 0, 1, 2].tolist() == [1, 1]
        assert out.sum() == 2
    assert families.crop(x, torch.tensor([[4, 0]])).sum() == 0
    assert families.crop(x, torch.tensor([[0, 0], [-1, 2]]))[1, 0, 4].tolist() == [0, 0, 0, 0, 0, 0]


def test_a_cutout_is_a_box_clipped_at_the_border():
    x = torch.ones(1, 2, 6, 7)
    middle = families.cutout(x, torch.tensor([[3, 4]]), (3, 2))
    expected = torch.ones(6, 7)
    expected[2:5, 3:5] = 0
    assert torch.equal(middle[0, 0], expected)
    assert torch.equal(middle[0, 1], expected)
    corner = families.cutout(x, torch.tensor([[0, 7]]), (4, 4))
    assert (corner == 0).sum() == 2 * 2 * 2


def test_colour_is_brightness_then_saturation_then_contrast():
    x, (b, s, c) = images(3), (torch.tensor([v]) for v in (0.3, 1.7, 0.6))
    bright = x + 0.3
    gray = bright.mean(1, keepdim=True)
    strong = (bright - gray) * 1.7 + gray
    mean = strong.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(families.colour(x, b, s, c), (strong - mean) * 0.6 + mean, atol=1e-6, rtol=1e-6)


def test_saturation_leaves_gray_images():
    x, zero, one = images(3, (1, 4, 4)), torch.zeros(1), torch.ones(1)
    torch.testing.assert_close(families.colour(x, zero, torch.tensor([1.9]), one), x)


@pytest.mark.parametrize("strategy", ["", "none", "None"])
def test_no_strategy_changes_nothing_not_even_features(strategy):
    siamese = Siamese(strategy, per_sample=True)
    table = torch.randn(3, 5, generator=generator())
    assert siamese.families == ()
    assert torch.equal(siamese(table, generator()), table)
    assert torch.equal(siamese(images(), generator()), images())
    assert (siamese.draw(2, SHAPE, generator()).family == IDENTITY).all()


def test_no_images_stay_no_images():
    for per_sample in (False, True):
        assert Siamese(per_sample=per_sample)(images(0), generator()).shape == (0, *SHAPE)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"strategy": "color_crp"}, "the family 'crp'[\\s\\S]*did you mean 'crop'"),
        ({"strategy": "xyzzy"}, "color, crop, cutout, flip, scale, rotate[\\s\\S]*use names from the list"),
        ({"strategy": "crop__flip"}, "the family ''"),
        ({"scale": 0.9}, "scale = 0.9\n  expected: scale of at least 1"),
        ({"flip": 1.5}, "flip = 1.5\n  expected: flip of at least 0 and at most 1"),
        ({"rotate": -1.0}, "rotate of at least 0"),
        ({"contrast": math.nan}, "contrast = nan"),
        ({"scale": math.inf}, "scale = inf"),
    ],
)
def test_a_strategy_that_cannot_be_says_why(options, text):
    with pytest.raises(ConfigError, match=text):
        Siamese(**options)


def test_features_cannot_be_augmented():
    with pytest.raises(ConfigError, match=r"shape \(5,\), a table of features[\s\S]*use the strategy \"none\""):
        Siamese()(torch.zeros(3, 5), generator())


def test_parameters_of_other_images_are_refused():
    siamese = Siamese(per_sample=True)
    parameters = siamese.draw(3, SHAPE, generator())
    with pytest.raises(ConfigError, match=r"received: 4 images of shape \(3, 8, 6\)\n  expected: 3 images"):
        siamese.apply(images(4), parameters)
    with pytest.raises(ConfigError, match=r"received: 3 images of shape \(1, 8, 6\)"):
        siamese.apply(images(3, (1, 8, 6)), parameters)

"""Views: the same pixels from the same seed, however they are asked for; labels for each of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from compact_examples import distilled_of, examples
from toys import blob_images

from decoct.augment.resized_crop import draw_boxes, resized_crop
from decoct.augment.siamese import Siamese
from decoct.compact.distilled import DistilledSet
from decoct.compact.load import load
from decoct.compact.views import Views
from decoct.errors import ConfigError
from decoct.streams import derive_seed

VIEWED = [name for name in examples() if "views" in name]


@pytest.mark.parametrize("name", VIEWED)
def test_views_come_back_bit_for_bit(name, tmp_path):
    small = examples()[name]
    small.save(tmp_path)
    back = load(tmp_path)
    assert isinstance(back, DistilledSet)
    assert back.views == small.views
    for number in range(small.views.count):
        for ours, theirs in zip(small.view(number), back.view(number), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", VIEWED)
def test_a_set_of_views_gives_plain_rows_with_the_mean_label(name):
    small = examples()[name]
    inputs, targets, _ = small.materialize()
    assert torch.equal(inputs, small.decode())
    labels = torch.stack([small.view(number)[1] for number in range(small.views.count)])
    assert torch.allclose(targets, labels.mean(0))
    assert torch.allclose(labels.sum(-1), torch.ones(labels.shape[:2]))
    assert not torch.equal(small.view(0)[0], small.view(1)[0])
    assert small.nbytes.labels == small.views.count * len(small) * (small.top_k or 0) * 3 or small.top_k is None


def test_a_view_is_the_augmentation_recorded_by_hand():
    """What a store of boxes and flips would hold: the parameters, drawn once and applied to every row."""
    images = torch.randn(5, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    siamese = Siamese("color_crop_cutout_flip_scale_rotate", per_sample=True)
    generator = torch.Generator().manual_seed(derive_seed(11, "view", 2))
    recorded = siamese.draw(5, (3, 8, 6), generator)
    views = Views(4, 11, siamese.strategy)
    assert torch.equal(views.replay(2, images), siamese.apply(images, recorded))
    assert len(recorded) == 5, "a family and parameters for every row"


def test_a_view_is_cropped_first_and_says_so_only_where_it_is():
    images = torch.randn(5, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    views = Views(2, 11, "flip", crop=0.3)
    generator = torch.Generator().manual_seed(derive_seed(11, "view", 1))
    boxes = draw_boxes(5, (0.3, 1.0), generator)
    by_hand = Siamese("flip", per_sample=True)(resized_crop(images, boxes, torch.zeros(5, dtype=torch.bool)), generator)
    assert torch.equal(views.replay(1, images), by_hand)
    assert Views.of(views.facts()) == views
    assert "crop" not in Views(2, 11, "flip").facts(), "what older readers know is said as they know it"
    with pytest.raises(ConfigError, match="images"):
        replace(views, strategy="").replay(0, torch.zeros(4, 7))


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixing_is_replayed_too(mix):
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    views = Views(6, 3, "", mix)
    seen = [views.replay(number, images) for number in range(6)]
    assert any(not torch.equal(view, images) for view in seen)
    assert all(torch.equal(view, views.replay(number, images)) for number, view in enumerate(seen))


OLD = {"count": 200, "seed": 3, "strategy": "", "mix": "cutmix", "mix_alpha": 1.0}
"""What a set that was stored before `mix_probability` says."""


def _changed(views: Views) -> int:
    """Views in which any pixel is another's; a box may have no pixel, in one of about 20 views of this size."""
    images = torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return sum(not torch.equal(views.replay(number, images), images) for number in range(views.count))


def test_every_new_view_is_mixed_and_half_of_the_old_ones():
    new = Views(200, 3, "", "cutmix")
    assert _changed(new) > 180
    assert 80 < _changed(Views.of(OLD)) < 115
    assert _changed(replace(new, mix_probability=0.0)) == 0
    assert _changed(Views(200, 3, "", "mixup")) == 200


def test_views_of_sets_stored_before_are_replayed_bit_for_bit():
    """By hand, as it was done then: CutMix with its own default."""
    images, views = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), Views.of(OLD)
    for number in range(20):
        generator = torch.Generator().manual_seed(derive_seed(3, "view", number))
        share = float(np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator))).beta(1, 1))
        partner = torch.randperm(6, generator=generator)
        chance, down, across = torch.rand(3, generator=generator).tolist()
        expected = images.clone()
        if chance < 0.5:
            side = int(8 * (1 - share) ** 0.5)
            (top, bottom), (left, right) = (
                (max(int(8 * at) - side // 2, 0), min(int(8 * at) - side // 2 + side, 8)) for at in (down, across)
            )
            expected[:, :, top:bottom, left:right] = images[partner][:, :, top:bottom, left:right]
        assert torch.equal(views.replay(number, images), expected)


def test_how_often_is_said_where_older_readers_would_take_it_wrong():
    assert Views.of(OLD).facts() == OLD, "what was stored is said as it was"
    new = Views(2, 3, "", "cutmix")
    assert new.facts()["mix_probability"] == 1.0
    assert Views.of(new.facts()) == new
    for plain in (Views(2, 3, "flip"), Views(2, 3, "", "mixup")):
        assert "mix_probability" not in plain.facts()
        assert Views.of(plain.facts()) == plain


def test_the_global_generator_neither_matters_nor_moves():
    images = torch.randn(4, 1, 8, 8)
    before = torch.random.get_rng_state()
    first = Views(1, 5, "crop_scale", "mixup").replay(0, images)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(3)
    assert torch.equal(first, Views(1, 5, "crop_scale", "mixup").replay(0, images))


@pytest.mark.parametrize("number", [-1, 3])
def test_a_view_that_is_not_there(number):
    with pytest.raises(ConfigError, match="from 0 to 2"):
        Views(3, 0).replay(number, torch.zeros(2, 1, 4, 4))


def test_a_set_without_views_says_so():
    with pytest.raises(ConfigError, match="a set without views"):
        distilled_of(blob_images()).view(0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "an object with some of"),
        ({"count": 2}, "an object with some of"),
        ({"count": 2, "seed": 0, "code": "x"}, "an object with some of"),
        ({"count": 0, "seed": 0}, "a count of at least 1"),
        ({"count": True, "seed": 0}, "a count of at least 1"),
        ({"count": 2, "seed": -1}, "a seed below"),
        ({"count": 2, "seed": 0, "mix": "blend"}, "'cutmix'"),
        ({"count": 2, "seed": 0, "mix_alpha": "1"}, "a positive alpha"),
        ({"count": 2, "seed": 0, "crop": 0.0}, "a crop of at most 1"),
        ({"count": 2, "seed": 0, "mix": "cutmix", "mix_probability": 1.5}, "a mix_probability from 0.0 to 1.0"),
        ({"count": 2, "seed": 0, "mix": "cutmix", "mix_probability": "1"}, "a mix_probability from 0.0 to 1.0"),
        ({"count": 2, "seed": 0, "mix": "mixup", "mix_probability": 0.5}, "a mix_probability from 0.0 to 1.0"),
        ({"count": 2, "seed": 0, "strategy": "melt"}, "'melt'"),
        ({"count": 3, "seed": 0}, r"probabilities labels \(3, 6, 3\)"),
    ],
)
def test_foreign_views_are_refused(value, text):
    small = distilled_of(blob_images(), label_kind="probabilities", views=Views(2, 0))
    with pytest.raises(ConfigError, match=text):
        replace(small, learned={"views": value})

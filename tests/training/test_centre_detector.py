"""The detector learns, repeats itself, and refuses what it cannot use."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scenes import scene_json, write_scenes

from decoct.data.detection.coco import read_coco
from decoct.data.detection.detection_set import DetectionSet
from decoct.data.detection.pictures import load_pictures
from decoct.errors import ConfigError, DataError, DivergenceError
from decoct.evaluation.average_precision import average_precision
from decoct.training.detector import DetectorConfig, train_detector

QUICK = DetectorConfig(size=(48, 64), width=8, steps=4)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> DetectionSet:
    return read_coco(write_scenes(tmp_path_factory.mktemp("scenes"), scene_json(count=24)))


def test_it_learns_to_find_shapes_on_a_canvas_larger_than_the_images(scenes: DetectionSet) -> None:
    train, test = scenes.take(range(16)), scenes.take(range(16, 24))
    config = replace(QUICK, size=(64, 80), width=16, steps=70)
    detector = train_detector(train, config, 0)
    assert sum(detector.losses[-10:]) < sum(detector.losses[:10]) / 3
    before = average_precision(train_detector(train, replace(config, steps=1), 0).detect(test), test).mean
    after = average_precision(detector.detect(test), test).mean
    assert before is not None
    assert after is not None
    assert before < 0.1
    assert after > 0.6


def test_the_same_seed_gives_the_same_bits_and_another_does_not(scenes: DetectionSet) -> None:
    def weights(seed: int) -> torch.Tensor:
        return torch.cat([p.flatten() for p in train_detector(scenes, QUICK, seed).module.parameters()])

    torch.manual_seed(1)
    first = weights(0)
    torch.manual_seed(2)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


def test_found_boxes_lie_in_their_images_and_are_sorted(scenes: DetectionSet) -> None:
    detector = train_detector(scenes, QUICK, 0)
    few = scenes.take([3, 1])
    found = detector.detect(few, most=5)
    assert found.owners.tolist() == [0] * 5 + [1] * 5
    assert (found.scores[:5].diff() <= 0).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, 2] <= 64).all()
    assert (found.boxes[:, 3] <= 48).all()
    shown = detector.detect(few, load_pictures(few, QUICK.size), most=5)
    assert torch.equal(found.boxes, shown.boxes)


def test_images_without_boxes_are_learned_from_too(scenes: DetectionSet) -> None:
    bare = scenes.take(range(4))
    bare = replace(
        bare, boxes=bare.boxes[:1], labels=bare.labels[:1], owners=bare.owners[:1], ignored=bare.ignored[:1],
        crowded=bare.crowded[:1],
    )  # fmt: skip
    assert all(loss > 0 for loss in train_detector(bare, QUICK, 0).losses)


def test_nothing_to_learn_from_is_refused(scenes: DetectionSet) -> None:
    silent = replace(scenes, ignored=torch.ones_like(scenes.ignored))
    with pytest.raises(DataError, match="24 images without a box to learn from"):
        train_detector(silent, QUICK, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": (50, 64)}, r"take \(48, 64\)"),
        ({"size": (0, 64)}, "multiples of 16"),
        ({"steps": 0}, "steps=0"),
        ({"lr": 0.0}, "lr=0.0"),
        ({"zoom": 1.0}, "zoom=1.0"),
    ],
)
def test_options_that_cannot_work(change: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(QUICK, **change)


def test_a_loss_that_is_no_number_stops(scenes: DetectionSet) -> None:
    with pytest.raises(DivergenceError, match="in step"):
        train_detector(scenes, replace(QUICK, steps=60, lr=1e30), 0)

"""Judging a set of images with boxes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import scene_json, write_scenes

from decoct.data.detection.coco import read_coco
from decoct.errors import MismatchError
from decoct.evaluation.average_precision import average_precision
from decoct.evaluation.detection import judge_detection
from decoct.training.detector import DetectorConfig, train_detector

QUICK = DetectorConfig(size=(48, 64), width=8, steps=25)


def test_a_score_holds_what_each_seed_came_to(tmp_path) -> None:
    data = read_coco(write_scenes(tmp_path, scene_json(count=12)))
    train, test = data.take(range(8)), data.take(range(8, 12))
    score = judge_detection(train, test, config=QUICK, seeds=(3, 4))
    again = average_precision(train_detector(train, QUICK, 4).detect(test), test)
    assert score.precisions[1] == again
    assert score.values[1] == again.mean
    assert score.interval is not None
    low, high = score.interval
    assert (low + high) / 2 == pytest.approx(sum(score.values) / 2)
    assert judge_detection(train, test, config=QUICK, seeds=(3,)).interval is None
    with pytest.raises(MismatchError, match="classes disc, square, bar here and a, b, c"):
        judge_detection(train, replace(test, class_names=("a", "b", "c")), config=QUICK)

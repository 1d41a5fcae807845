"""What a small set of images with boxes is worth: AP50 of detectors trained on it from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decoct.data.detection.detection_set import DetectionSet
from decoct.data.detection.pictures import load_pictures
from decoct.errors import MismatchError
from decoct.evaluation.average_precision import Precision, average_precision
from decoct.evaluation.statistics import Interval, interval
from decoct.progress import progress
from decoct.training.detector import DetectorConfig, train_detector


@dataclass(frozen=True)
class DetectionScore:
    """AP of one detector a seed, all trained on the same images."""

    precisions: tuple[Precision, ...]
    seeds: tuple[int, ...]

    @property
    def values(self) -> list[float]:
        """Mean AP over the classes, of every seed, a fraction."""
        return [found.mean or 0.0 for found in self.precisions]

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the mean over seeds; None for one seed."""
        return interval(self.values)


def judge_detection(
    small: DetectionSet,
    test: DetectionSet,
    *,
    config: DetectorConfig | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    overlap: float = 0.5,
    device: str = "cpu",
) -> DetectionScore:
    """Train a detector on `small` for every seed, with as many steps as for any other set, and measure it on `test`.

    Raises `MismatchError` where the two sets have other classes, and what `train_detector` and `average_precision` do.
    """
    if small.class_names != test.class_names:
        raise MismatchError(
            f"judging {len(small)} images of {small.source}",
            received=f"classes {', '.join(small.class_names[:5])} here and {', '.join(test.class_names[:5])} in the "
            f"test images",
            expected="the same classes in the same order",
            remedy="take the test images of the same source; voc: sorts the names that occur, so convert both together",
        )
    chosen = config or DetectorConfig()
    own, shown = load_pictures(small, chosen.size), load_pictures(test, chosen.size)
    found = []
    for seed in seeds:
        with progress(f"training a detector on {len(small)} images, seed {seed}", float(chosen.steps)) as tick:
            detector = train_detector(small, chosen, seed, pictures=own, device=device, tick=tick)
        found.append(average_precision(detector.detect(test, shown), test, overlap))
    return DetectionScore(tuple(found), tuple(seeds))

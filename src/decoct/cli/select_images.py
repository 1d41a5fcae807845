"""`decoct select coco:JSON` and `voc:FOLDER`: picking images with boxes."""

from __future__ import annotations

import shlex
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from decoct.data.detection.kinds import is_detection
from decoct.durations import show_duration

if TYPE_CHECKING:
    from decoct.cli.select import Options

METHOD = "csod"
NOT_FOR_IMAGES = ("ipc", "bytes", "balance", "score", "scores", "labels", "shard_rows", "explain", "dropped")
"""Options of `decoct select` that say nothing about images with boxes."""
NOT_FOR_OPENING = ("mode", "whiten", "cache", "weights", "val_fraction", "test_fraction", "split_seed", "group",
                   "held_out")  # fmt: skip
NOT_FOR_RUNNING = ("engine", "workers", "address")


def concerns(options: Options) -> bool:
    """Whether the source is one of images with boxes."""
    return is_detection(options.source)


def refuse_rows(options: Options) -> None:
    """Raise `ConfigError` for a method that compares boxes, asked for where there are none."""
    if options.method == METHOD:
        from decoct.errors import ConfigError

        raise ConfigError(
            f"selecting from {options.source} by {METHOD}",
            received="a source without boxes",
            expected="images with boxes: coco:JSON or voc:FOLDER",
            remedy="choose another method for this source; facility-location and graph-cut are related",
        )


def run(options: Options) -> dict[str, Any]:
    """Select, and say what was picked; raises `ConfigError` for options that are for other sources."""
    from decoct.compact.budget import Budget
    from decoct.compact.stored import readable
    from decoct.data.detection.open import open_detection
    from decoct.selection.detection.cost import estimate_images
    from decoct.selection.detection.select import image_method, select_images
    from decoct.selection.settings import with_settings
    from decoct.training.detector import DetectorConfig

    _require_fitting(options)
    # Wrong names and budgets are told before images are decoded and a detector is trained.
    name = options.method or METHOD
    method = with_settings(image_method(name), options.words, name)
    budget = Budget(count=options.count, fraction=options.fraction)
    size = options.opening.height_and_width()
    config = DetectorConfig() if size is None else DetectorConfig(size=size)
    data = open_detection(options.source, images=options.images, skip_bad=options.opening.skip_bad)
    for notice in data.notices:
        print(f"note: {notice}", file=sys.stderr)
    cost = estimate_images(data, method, budget=budget, features=options.features, config=config)
    print(f"estimate: {cost.sentence}", file=sys.stderr)
    picked = select_images(
        data, method, count=options.count, fraction=options.fraction, features=options.features, seed=options.seed,
        out=options.out, device=options.device, config=config,
    )  # fmt: skip
    small = picked.subset()
    return {
        "out": str(options.out),
        "source": data.source,
        "images": len(picked),
        "of": len(data),
        "boxes": picked.box_counts(),
        "boxes_of_all": {name: int((data.labels == c).sum()) for c, name in enumerate(data.class_names)},
        "first": [
            {
                "id": name if isinstance(name, int) else readable(name),
                "file_name": readable(entry["file_name"]),
                "class": picked.picked_for(k),
            }
            for k, (name, entry) in enumerate(zip(small.ids[:5], small.document["images"], strict=False))
        ],
        "provenance": picked.provenance,
        "estimate": {"flops": cost.flops, "seconds": cost.seconds, "passes": cost.passes},
        "notices": [readable(notice) for notice in data.notices],
    }


def _require_fitting(options: Options) -> None:
    """Raise `ConfigError` where an option is given that would be passed over."""
    parts = ((options, NOT_FOR_IMAGES), (options.opening, NOT_FOR_OPENING), (options.running, NOT_FOR_RUNNING))
    given = [
        field.name for part, names in parts for field in fields(part)
        if field.name in names and getattr(part, field.name) != field.default
    ]  # fmt: skip
    if given:
        from decoct.errors import ConfigError

        raise ConfigError(
            f"selecting from {options.source}",
            received=" and ".join("--" + name.replace("_", "-") for name in given),
            expected="--count or --fraction, --method, --set, --features, --size, --images and --skip-bad beside "
            "images with boxes",
            remedy="leave these out",
        )


def show(result: dict[str, Any]) -> str:
    """What was picked, class by class, and where it is."""
    boxes = ", ".join(f"{name} {count} of {result['boxes_of_all'][name]}" for name, count in _most(result["boxes"]))
    first = ", ".join(f"{one['file_name']}" + (f" ({one['class']})" if one["class"] else "") for one in result["first"])
    seconds = show_duration(result["provenance"]["seconds"])
    out = shlex.quote(result["out"])
    return "\n".join(
        [
            f"{result['out']}: {result['images']} of {result['of']} images of {result['source']} in {seconds}",
            f"boxes  {boxes}",
            f"first  {first}",
            f"COCO json of these images, in the order picked: {out}/subset.json; its pictures are where they were.",
        ]
    )


def _most(boxes: dict[str, int]) -> list[tuple[str, int]]:
    """Up to ten classes, those with most boxes first."""
    return sorted(boxes.items(), key=lambda pair: -pair[1])[:10]

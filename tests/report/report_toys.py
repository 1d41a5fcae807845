"""A made-up but complete page: real digits as pictures, invented accuracies."""

from __future__ import annotations

import numpy as np

from decoct.evaluation.scorecard import Entry
from decoct.report.contents import Column, Contents, Estimate, Gallery, Heat, Row


def entry(
    name: str, mean: float, nbytes: int, rows: int, *, kind: str = "judged", labels: int = 0, spread: float = 0.01
) -> Entry:
    steps = np.linspace(-1, 1, 5)
    last = tuple(float(min(1, mean + spread * step)) for step in steps)
    return Entry(
        name=name, label=name, kind=kind, network="convnet3", image_bytes=nbytes, label_bytes=labels or rows,
        decoder_bytes=0, rows=rows, distinct=rows, samples_seen=300 * rows, label_kind="hard", seeds=tuple(range(5)),
        last=last, selected=last, val=last, seconds=3.2, peak_memory=612_000_000,
    )  # fmt: skip


def toy_rows() -> tuple[Row, ...]:
    made = {
        "random": (0.52, 0.884),
        "herding": (0.63, 0.902),
        "k-means": (0.662, 0.914),
        "dm": (0.71, 0.931),
        "ridge": (0.79, 0.952),
    }
    rows = []
    for place, (ipc, base) in enumerate(((1, 0.54), (10, 0.88))):
        for name, means in made.items():
            labels = 200 * ipc if name == "ridge" else 0
            judged = entry(name, means[place], 640 * ipc, 10 * ipc, labels=labels, spread=0.03 / (place + 1))
            rows.append(Row(judged, float(ipc), Estimate(means[place] - base, 0.012), 0.4 if means[1] < 0.92 else 42.0))
        rows.append(
            Row(
                entry("random+teacher", means[place] - 0.1, 640 * ipc, 10 * ipc, kind="baseline", labels=200 * ipc),
                float(ipc),
            )
        )
    rows.append(Row(entry("full", 0.982, 91_968, 1437, kind="baseline", spread=0.002), 143.7))
    return tuple(rows)


def toy_gallery(
    classes: tuple[str, ...], images: int, *, columns: int = 6, side: int = 8, channels: int = 1
) -> Gallery:
    from sklearn.datasets import load_digits

    digits = load_digits()
    generator = np.random.default_rng(0)
    made = []
    for c, title in enumerate(
        ("real", "random", "herding", "k-means", "dm", "ridge", *map(str, range(columns)))[:columns]
    ):
        pictures = []
        for k in range(len(classes)):
            rows = np.flatnonzero(digits.target == k % 10)[c : c + images]
            found = (digits.images[rows] * 15.9).astype(np.uint8)[..., None]
            if side != 8 or channels != 1:
                found = generator.integers(0, 256, (images, side, side, channels), dtype=np.uint8)
            pictures.append(found)
        made.append(Column(title, tuple(pictures), (143 if c == 0 else images,) * len(classes)))
    return Gallery(f"{images} per class", classes, tuple(made))


def toy_heat(classes: tuple[str, ...], per_class: int = 10, kind: str = "scores") -> Heat:
    generator = np.random.default_rng(1)
    nominal = np.repeat(np.arange(len(classes)), per_class)
    values = np.eye(len(classes))[nominal] * 0.9 + generator.normal(0, 0.12, (len(nominal), len(classes)))
    if kind == "probabilities":
        values = np.abs(values) / np.abs(values).sum(1, keepdims=True)
    names = tuple(classes[k] for k in nominal)
    return Heat(f"ridge, {per_class} per class", values.astype(np.float32), names, classes, kind)


def toy_contents(classes: tuple[str, ...] = tuple("0123456789"), source: str = "digits") -> Contents:
    return Contents(
        source=source,
        class_names=classes,
        shape=(1, 8, 8),
        train=1437,
        protocol="quick",
        rows=toy_rows(),
        galleries=(toy_gallery(classes, 1), toy_gallery(classes, 10)),
        heats=(toy_heat(classes), toy_heat(classes, 1, "probabilities")),
        facts=(
            ("Source", source),
            ("Fingerprint", "4f0c" * 16),
            ("Protocol", "quick (8a1b2c3d4e5f)"),
            ("Hardware", "2 cores"),
        ),
        commands=("decoct compare digits --methods random herding k-means dm ridge --ipc 1 10 --seeds 5",),
        notes=("The intervals cover the seeds of the networks with the set fixed.",),
    )

"""Small made-up data that every room's tests can learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from decoct.data.dataset import Dataset, DataSpec, Split
from decoct.data.transform import Standardise


def blob_images(
    classes: int = 3, per_class: int = 20, shape: tuple[int, int, int] = (1, 8, 8), seed: int = 0
) -> Dataset:
    """Images whose class is a fixed random pattern under noise: easy, but not for one pixel alone."""
    return _dataset(classes, per_class, shape, seed)


def blob_features(classes: int = 3, per_class: int = 20, width: int = 12, seed: int = 0) -> Dataset:
    """The same as a table of features `[n, width]`."""
    return _dataset(classes, per_class, (width,), seed)


def saved_npz(data: Dataset, path: Path) -> str:
    """Write the training rows as an npz file, and say how `decoct.open` calls it."""
    np.savez(path, x=data.train.x, y=data.train.y)
    return f"npz:{path}"


def _dataset(classes: int, per_class: int, shape: tuple[int, ...], seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    patterns = rng.uniform(0.2, 0.8, (classes, *shape))
    splits = [_split(patterns, count, rng, name) for name, count in _sizes(per_class)]
    raw = splits[0].raw()
    values = raw.float() / 255 if len(shape) == 3 else raw
    axes = (0, 2, 3) if len(shape) == 3 else (0,)
    transform = Standardise(values.mean(axes), values.std(axes) + 1e-6)
    names = tuple(f"class {c}" for c in range(classes))
    spec = DataSpec("toy", shape, names, transform, fingerprint=f"{classes}-{per_class}-{shape}-{seed}")
    return Dataset(spec, *splits)


def _sizes(per_class: int) -> list[tuple[str, int]]:
    return [("train", per_class), ("val", max(2, per_class // 4)), ("test", max(2, per_class // 4))]


def _split(patterns: np.ndarray, count: int, rng: np.random.Generator, name: str) -> Split:
    labels = np.tile(np.arange(len(patterns)), count)
    values = patterns[labels] + rng.normal(0, 0.15, (len(labels), *patterns.shape[1:]))
    rows = (values.clip(0, 1) * 255).astype(np.uint8) if patterns.ndim == 4 else values.astype(np.float32)
    ids = np.array([f"{name}-{i}" for i in range(len(labels))])
    return Split(rows, labels.astype(np.int64), ids)


def class_balance(labels: torch.Tensor, classes: int) -> list[int]:
    """How many rows each class has."""
    return torch.bincount(labels, minlength=classes).tolist()

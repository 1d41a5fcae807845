"""Some classes of a data set as a data set of their own, and sets made from it in the classes of the whole again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset, Split
from decoct.errors import ConfigError, DataError
from decoct.evaluation.contender import Material, rows_together


def only_classes(data: Dataset, classes: Sequence[int]) -> Dataset:
    """The rows of `classes` in every split, as classes 0, 1, ... in the order given.

    Shape, normalisation and ids stay; the fingerprint is one of its own, so that runs of different classes or rows are
    never taken for one another. Raises `ConfigError` for no classes, one twice or one that is not there, and
    `DataError` where a class has no training rows. Validation and test may miss a class.
    """
    chosen = tuple(int(c) for c in classes)
    if not chosen or len(set(chosen)) < len(chosen) or not all(0 <= c < data.spec.classes for c in chosen):
        raise ConfigError(
            "taking some classes of a data set",
            received=f"classes {list(chosen)}",
            expected=f"different numbers from 0 to {data.spec.classes - 1}, at least one",
            remedy="name each class once by its place in spec.class_names",
        )
    new = np.full(data.spec.classes, -1, dtype=np.int64)
    new[list(chosen)] = np.arange(len(chosen))
    splits = [_relabelled(split, new) for split in (data.train, data.val, data.test)]
    present = np.bincount(splits[0].y, minlength=len(chosen))
    if (present == 0).any():
        missing = [data.spec.class_names[c] for c, count in zip(chosen, present, strict=True) if count == 0]
        raise DataError(
            "taking some classes of a data set",
            received=f"no training rows of {missing[0]!r}" + (f" and {len(missing) - 1} more" if missing[1:] else ""),
            expected="at least one training row of every class",
            remedy="leave that class out, or give data that have it",
        )
    mark = hashlib.sha256(f"{data.spec.fingerprint}/{chosen}/{splits[0].rows_key}".encode()).hexdigest()
    names = tuple(data.spec.class_names[c] for c in chosen)
    return Dataset(replace(data.spec, class_names=names, fingerprint=mark), *splits)


def _relabelled(split: Split, new: NDArray[np.int64]) -> Split:
    part = split.take(np.flatnonzero(new[split.y] >= 0))
    return replace(part, y=new[part.y])


def real_rows(data: Dataset, rows: Int64[Tensor, " k"]) -> Material:
    """Real training rows with their own classes, as probabilities; they count by their weights if they have any."""
    targets, own = F.one_hot(data.train.labels(rows), data.spec.classes).float(), data.train.weight(rows)
    weights = torch.ones(len(rows)) if own is None else own.float()
    return Material(data.inputs(data.train, rows), targets, weights, "probabilities")


def rows_of_set(compact_set: CompactSet, classes: Sequence[int], total: int) -> Material:
    """What a set made from `only_classes(data, classes)` teaches, in all `total` classes, as probabilities; soft labels
    keep the temperature that they were made at.

    Raises `ConfigError` for a set whose labels are scores: those are fitted by regression and cannot stand beside
    rows with classes.
    """
    own = Material.of(compact_set)
    if compact_set.label_kind == "scores":
        raise scores_refused("a set whose labels are scores")
    wide = torch.zeros(len(own.inputs), total)
    wide[:, list(classes)] = (
        F.one_hot(own.targets, len(classes)).float() if own.label_kind == "hard" else own.targets.float()
    )
    return Material(own.inputs, wide, own.weights, "probabilities", temperature=own.temperature)


def scores_refused(received: str) -> ConfigError:
    """The error for labels that are fitted by regression, where rows with classes stand beside them."""
    return ConfigError(
        "training on sets of different classes together", received=received, expected="classes or probabilities",
        remedy="choose a recipe with hard or teacher labels, such as dm, dsa or idm",
    )  # fmt: skip


def together(parts: Sequence[Material]) -> Material:
    """All rows of several parts, each at the temperature of its labels. Raises `ConfigError` for none."""
    if not parts:
        raise ConfigError(
            "training on several sets together", received="no set", expected="at least one", remedy="give a set"
        )
    return rows_together(parts)

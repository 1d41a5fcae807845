"""Small sets and studies that every analysis can be asked about within a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from toys import blob_images

from decoct.analysis.routine import Routine
from decoct.analysis.study import Study
from decoct.compact.compact_set import CompactSet
from decoct.compact.decoders import quantise
from decoct.compact.distilled import DistilledSet
from decoct.data.dataset import Dataset
from decoct.selection.driver import select

DATA = blob_images(classes=3, per_class=30)
NETWORK = "mlp2-w16"
ROUTINE = Routine(steps=30, lr=0.05)


def toy_set(ipc: int = 2, data: Dataset = DATA, seed: int = 1) -> CompactSet:
    return select(data, "random", ipc=ipc, seed=seed)


def toy_study(small: CompactSet | None = None, data: Dataset = DATA, **options: Any) -> Study:
    chosen: dict[str, Any] = {"network_name": NETWORK, "seeds": 2, "device": "cpu"} | options
    return Study.of(small or toy_set(data=data), data, **chosen)


def soft_set(kind: str = "probabilities", data: Dataset = DATA, ipc: int = 2) -> DistilledSet:
    """The rows of a random coreset with soft labels that still name their class."""
    core = toy_set(ipc, data)
    inputs, classes, _ = core.materialize()
    one_hot = torch.nn.functional.one_hot(classes, data.spec.classes).float()
    labels = 0.8 * one_hot + 0.2 / data.spec.classes
    if kind == "scores":
        labels = one_hot - 1 / data.spec.classes
    return DistilledSet(
        spec=data.spec, storage="pixels", config={}, tensors=quantise(inputs, 8), labels=labels.half(), label_kind=kind,  # pyright: ignore
        classes=classes, learned={}, provenance={"name": "soft"},
    )  # fmt: skip


def class_weighted(weight: float = 0.5) -> DistilledSet:
    """Scores beside which the class weighs, as G-VBSM teaches."""
    return replace(soft_set("scores"), learned={"teacher": {"class_weight": weight}})


def files_of(folder: Path) -> dict[str, float]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.json")}


def relabelled(data: Dataset, split: str, labels: np.ndarray) -> Dataset:
    """The data with other labels in one split."""
    return replace(data, **{split: replace(getattr(data, split), y=labels)})

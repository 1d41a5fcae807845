"""Small compact sets of every kind, for the tests of this folder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from toys import blob_features, blob_images

from decoct.compact.coreset import Coreset
from decoct.compact.decoders import quantise, quantise_columns
from decoct.compact.distilled import DistilledSet
from decoct.compact.soft_labels import keep_largest
from decoct.compact.views import Views
from decoct.data.dataset import Dataset, DataSpec
from decoct.data.transform import Zca


def whitened(spec: DataSpec) -> DataSpec:
    """The spec with a ZCA transform of a well-conditioned made-up matrix after its own."""
    size = int(np.prod(spec.shape))
    noise = torch.randn(size, size, generator=torch.Generator().manual_seed(1)) / size
    matrix = torch.eye(size) + noise @ noise.T
    transform = Zca(spec.transform, torch.linspace(-1, 1, size), matrix, torch.linalg.inv(matrix))  # type: ignore[arg-type]
    return DataSpec(spec.source, spec.shape, spec.class_names, transform, spec.fingerprint)


def coreset_of(data: Dataset, count: int = 6, spec: DataSpec | None = None) -> Coreset:
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(data.train))[:count]
    return Coreset(
        spec=spec or data.spec,
        raw=data.train.raw(rows),
        classes=data.train.labels(rows),
        indices=torch.from_numpy(rows.astype(np.int64)),
        ids=data.train.ids[rows],
        weights=torch.linspace(0.5, 2, count),
        scores=torch.linspace(3, -1, count),
        provenance={"method": "toy", "seed": 0},
    )


def inputs_of(data: Dataset, count: int) -> torch.Tensor:
    return data.inputs(data.train, slice(0, count))


def distilled_of(
    data: Dataset,
    storage: str = "pixels",
    bits: int = 8,
    label_kind: str = "hard",
    *,
    stored: int = 6,
    factor: int = 2,
    top_k: int | None = None,
    views: Views | None = None,
    size: list[int] | None = None,
    cut: int = 0,
) -> DistilledSet:
    config: dict[str, Any] = {"factor": factor} if storage == "multiformation" else {}
    config |= {"size": size} if size else {}
    rows = stored * (factor**2 if config else 1)
    classes = torch.arange(rows) % data.spec.classes
    scores = torch.randn(rows, data.spec.classes, generator=torch.Generator().manual_seed(0))
    labels = {"hard": classes, "probabilities": keep_largest(scores.softmax(1), top_k), "scores": scores}[label_kind]
    if views is not None:
        labels = torch.stack([labels.roll(shift, 0) for shift in range(views.count)])
    return DistilledSet(
        spec=data.spec,
        storage=storage,
        config=config,
        tensors=quantise(inputs_of(data, stored)[..., cut:, cut:].contiguous(), bits),
        labels=labels,
        label_kind=label_kind,  # type: ignore[arg-type]
        classes=classes,
        learned={"lr": 0.01, "augment": "flip", **({"views": views.facts()} if views else {})},
        provenance={"recipe": "toy", "seed": 0},
        top_k=top_k,
    )


def bases_of(data: Dataset, size: list[int] | None, bits: int = 8, label_kind: str = "hard") -> DistilledSet:
    """Seven rows out of two bases, of half the sides rounded up."""
    small = inputs_of(data, 2)
    if size is not None:
        small = torch.nn.functional.interpolate(small, size=[-(-side // 2) for side in size], mode="area")
    stored = quantise(small, bits)
    stored["bases"] = stored.pop("pixels")
    weights = torch.randn(7, 2, generator=torch.Generator().manual_seed(3))
    classes = torch.arange(7) % data.spec.classes
    labels = classes if label_kind == "hard" else torch.nn.functional.one_hot(classes, data.spec.classes).float()
    return DistilledSet(
        data.spec, "bases", {} if size is None else {"size": size}, {**stored, **quantise_columns(weights, bits)},
        labels, label_kind, classes, {}, {"recipe": "toy"},  # type: ignore[arg-type]
    )  # fmt: skip


def examples() -> dict:
    """name -> compact set: both kinds, grey and colour, not square, 2 and 300 classes, features, every label kind."""
    grey, colour = blob_images(3, 4, (1, 8, 6)), blob_images(2, 4, (3, 5, 7))
    many, table = blob_images(300, 2, (1, 4, 4)), blob_features(3, 4, 12)
    return {
        "coreset-grey": coreset_of(grey),
        "coreset-colour": coreset_of(colour),
        "coreset-300": coreset_of(many, 400),
        "coreset-features": coreset_of(table),
        "coreset-zca": coreset_of(colour, spec=whitened(colour.spec)),
        "pixels-8": distilled_of(grey),
        "pixels-16-soft": distilled_of(colour, bits=16, label_kind="probabilities"),
        "pixels-32-scores": distilled_of(colour, bits=32, label_kind="scores"),
        "pixels-300": distilled_of(many, stored=300),
        "pixels-300-soft": distilled_of(many, label_kind="probabilities", stored=8),
        "pixels-top-k": distilled_of(grey, label_kind="probabilities", top_k=2),
        "pixels-300-top-k": distilled_of(many, label_kind="probabilities", stored=8, top_k=5),
        "pixels-views": distilled_of(colour, label_kind="probabilities", views=Views(3, 7, "crop_flip", "cutmix")),
        "pixels-views-top-k": distilled_of(grey, label_kind="probabilities", top_k=1, views=Views(2, 7, "scale")),
        "features-views": distilled_of(table, bits=16, label_kind="probabilities", views=Views(4, 2**52, mix="mixup")),
        "pixels-features": distilled_of(table, bits=16, label_kind="scores"),
        "bases": bases_of(grey, [8, 6]),
        "bases-uneven-16-soft": bases_of(colour, [5, 7], bits=16, label_kind="probabilities"),
        "bases-features": bases_of(table, None, bits=16),
        "multiformation": distilled_of(grey, "multiformation"),
        "multiformation-shrunk": distilled_of(blob_images(3, 4, (1, 10, 8)), "multiformation", size=[10, 8], cut=2),
        "multiformation-uneven": distilled_of(colour, "multiformation", 16, "probabilities", stored=3, factor=3),
    }

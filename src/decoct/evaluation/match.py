"""Whether a compact set and a data set belong together, checked before anything is trained."""

from __future__ import annotations

import torch

from decoct.data.dataset import DataSpec
from decoct.data.fingerprint import WITHHELD
from decoct.data.transform import Transform
from decoct.errors import MismatchError
from decoct.evaluation.scorecard import Scorecard

CALLED = "judging a compact set on data"


def require_match(set_spec: DataSpec, data_spec: DataSpec, called: str = CALLED) -> None:
    """Raise `MismatchError` unless shape, class names in order, normalisation and fingerprint are the same."""
    if set_spec.shape != data_spec.shape:
        raise MismatchError(
            called,
            received=f"a set of rows of shape {list(set_spec.shape)} and data of shape {list(data_spec.shape)}",
            expected="one shape [channels, height, width] (or [features])",
            remedy=f"open the data with the size and mode (--size, --mode) that the set was made with "
            f"({set_spec.source})",
        )
    if set_spec.class_names != data_spec.class_names:
        raise MismatchError(
            called,
            received=_difference(set_spec.class_names, data_spec.class_names),
            expected="the same class names in the same order: a label is a place in that order",
            remedy=f"open the data that the set was made from ({set_spec.source})",
        )
    if set_spec.fingerprint != data_spec.fingerprint and WITHHELD in (set_spec.fingerprint, data_spec.fingerprint):
        raise MismatchError(
            called,
            received="a set or data whose fingerprint is withheld, as that of private rows is",
            expected="fingerprints that can be compared: nothing shows that they belong together",
            remedy="put the set on the data by decoct.evaluation.withheld.in_terms_of, which asks for shape and "
            "classes alone, as decoct evaluate, report and apply privacy do",
        )
    if set_spec.fingerprint != data_spec.fingerprint:
        raise MismatchError(
            called,
            received=f"a set made from data {set_spec.fingerprint[:12]} and data {data_spec.fingerprint[:12]}",
            expected="the same data: else test rows may have been trained on, and the baselines are not comparable",
            remedy=f"open {set_spec.source} with the same options (size, mode, val_fraction, test_fraction, seed and "
            "groups; of a command --size, --mode, --val-fraction, --test-fraction, --split-seed, --group and "
            "--held-out), or make the set again from these data",
        )
    if not _same_transform(set_spec.transform, data_spec.transform):
        whitened = set_spec.transform.kind == "zca"
        raise MismatchError(
            called,
            received=f"a set normalised by {_described(set_spec.transform)} and data by "
            f"{_described(data_spec.transform)}",
            expected="one normalisation: a network cannot be trained on one and tested on the other",
            remedy=f"open the data with whiten={whitened} ({'with' if whitened else 'without'} --whiten), as for the "
            "set",
        )


def require_judged_on(card: Scorecard, data_spec: DataSpec) -> None:
    """Raise `MismatchError` unless `card` holds numbers about data of this fingerprint."""
    found = str(card.data.get("fingerprint"))
    if found != data_spec.fingerprint:
        raise MismatchError(
            f"showing {data_spec.source} beside a scorecard",
            received=f"a scorecard of data {found[:12]} and data {data_spec.fingerprint[:12]}",
            expected="the data that were judged on",
            remedy=f"open {card.data.get('source')} with the same options, or leave the data out",
        )


def _difference(ours: tuple[str, ...], theirs: tuple[str, ...]) -> str:
    if len(ours) != len(theirs):
        return f"a set of {len(ours)} classes and data of {len(theirs)}"
    place = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    return f"class {place} is {ours[place]!r} in the set and {theirs[place]!r} in the data"


def _same_transform(ours: Transform, theirs: Transform) -> bool:
    if ours.kind != theirs.kind:
        return False
    mine, other = ours.tensors(), theirs.tensors()
    # The statistics of the same pixels differ in the last digits between machines.
    return all(torch.allclose(mine[name].cpu(), other[name].cpu(), rtol=1e-3, atol=1e-4) for name in mine)


def _described(transform: Transform) -> str:
    mean = transform.tensors()["mean"].flatten()[:3].tolist()
    return f"{transform.kind} (mean {', '.join(f'{value:.4g}' for value in mean)})"

"""Sets whose fingerprint is withheld, as private ones do: what stands for it, and how they are put on real data."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from decoct.compact.compact_set import CompactSet
from decoct.compact.distilled import DistilledSet
from decoct.data.dataset import DataSpec
from decoct.data.fingerprint import WITHHELD
from decoct.data.transform import Standardise
from decoct.errors import MismatchError
from decoct.evaluation.match import CALLED, require_match

NOTICE = (
    "The fingerprint of the set is withheld: shape and classes are those of these data, but nothing shows that it was "
    "made from their training rows and from no others. Its rows are shown under the normalisation of these data."
)


def in_terms_of(
    compact_set: CompactSet, data_spec: DataSpec, called: str = CALLED
) -> tuple[CompactSet, tuple[str, ...]]:
    """`compact_set` as it is put on data of this spec, and what a reader must know about that.

    Any set with a fingerprint stays as it is and has to match it. One whose fingerprint is withheld only has to match
    shape and classes; its rows, which stand under a normalisation of constants, are given that of the data. The same
    values are stored as before, so it weighs the same. Raises `MismatchError`.
    """
    spec = compact_set.spec
    if spec.fingerprint != WITHHELD or data_spec.fingerprint == WITHHELD:
        require_match(spec, data_spec, called)
        return compact_set, ()
    require_match(replace(spec, fingerprint=data_spec.fingerprint, transform=data_spec.transform), data_spec, called)
    ours, theirs = spec.transform, data_spec.transform
    plain = isinstance(compact_set, DistilledSet) and compact_set.storage == "pixels"
    if not (plain and isinstance(ours, Standardise) and isinstance(theirs, Standardise)):
        raise MismatchError(
            called,
            received=f"a set with a withheld fingerprint, normalised by {ours.kind}, and data by {theirs.kind}",
            expected="a set of stored pixels, and one mean and deviation for each channel on both sides",
            remedy="open the data without whitening",
        )
    assert isinstance(compact_set, DistilledSet)
    tensors = _renormalised(compact_set.tensors, ours, theirs)
    return replace(compact_set, spec=replace(data_spec, notices=spec.notices), tensors=tensors), (NOTICE,)


def _renormalised(tensors: dict[str, Tensor], ours: Standardise, theirs: Standardise) -> dict[str, Tensor]:
    """`x -> (x std + mean - mean') / std'` for each channel: of the ends of 8-bit levels, else of the values."""
    scale, shift = ours.std / theirs.std, (ours.mean - theirs.mean) / theirs.std
    if "low" in tensors:
        return {**tensors, "low": tensors["low"] * scale + shift, "step": tensors["step"] * scale}
    stored = tensors["pixels"]
    by_channel = [1, -1, *([1] * (stored.ndim - 2))]
    values = stored.float() * torch.reshape(scale, by_channel) + torch.reshape(shift, by_channel)
    return {**tensors, "pixels": values.to(stored.dtype)}

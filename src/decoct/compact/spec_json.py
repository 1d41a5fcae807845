"""A `DataSpec` as plain JSON and tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from decoct.data.dataset import DataSpec
from decoct.data.transform import transform_from
from decoct.errors import IntegrityError

TRANSFORM_PREFIX = "transform."
_MAX_VALUES = 1 << 28
"""Values in one row; beyond that a manifest is taken for an attack on the memory of the reader."""


def spec_to_json(spec: DataSpec) -> dict[str, Any]:
    """Everything of `spec` but the tensors of its transform."""
    return {
        "source": spec.source,
        "shape": list(spec.shape),
        "class_names": list(spec.class_names),
        "task": spec.task,
        "fingerprint": spec.fingerprint,
        "transform": spec.transform.kind,
        "notices": list(spec.notices),
    }


def spec_tensors(spec: DataSpec) -> dict[str, Tensor]:
    """The tensors of the transform, named `transform.NAME`."""
    return {f"{TRANSFORM_PREFIX}{name}": tensor for name, tensor in spec.transform.tensors().items()}


def spec_from(value: Any, tensors: Mapping[str, Tensor]) -> DataSpec:
    """The spec of `spec_to_json` and `spec_tensors`; raises `IntegrityError` where they do not make one."""
    fields = value if isinstance(value, dict) else {}
    for name in ("source", "task", "fingerprint", "transform"):
        _require(isinstance(fields.get(name), str), f"spec.{name} {fields.get(name)!r}", "a text")
    shape, names = fields.get("shape"), fields.get("class_names")
    sides = isinstance(shape, list) and len(shape) in (1, 3)
    sides = sides and all(type(side) is int and side > 0 for side in shape or []) and prod(shape or []) <= _MAX_VALUES
    _require(sides, f"spec.shape {shape!r}", "[c, h, w] or [d]")
    texts = isinstance(names, list) and len(names) > 0 and all(isinstance(name, str) for name in names or [])
    _require(texts, "spec.class_names that are no list of texts", "at least one class name")
    notices = fields.get("notices", [])
    sentences = isinstance(notices, list) and all(isinstance(notice, str) for notice in notices)
    _require(sentences, "spec.notices that are no list of texts", "sentences about how the source was opened")
    own = {n.removeprefix(TRANSFORM_PREFIX): t for n, t in tensors.items() if n.startswith(TRANSFORM_PREFIX)}
    shape = tuple(int(side) for side in shape or [])
    for name in ("mean", "std"):
        length = tuple(own[name].shape) if name in own else None
        _require(length in (None, shape[:1]), f"transform.{name} of shape {length}", f"shape {shape[:1]}")
    spec = _build(fields, shape, own)
    zeros = torch.zeros(1, *shape, dtype=torch.uint8 if len(shape) == 3 else torch.float32)
    try:
        result = spec.transform(zeros)
    except (RuntimeError, TypeError) as error:
        raise _refusal(f"a transform that fails on one row of shape {shape}: {error}", "tensors that fit") from error
    usable = result.shape == zeros.shape and bool(torch.isfinite(result).all())
    _require(usable, "a transform that gives other shapes or no finite values", f"finite rows of shape {shape}")
    return spec


def _build(fields: Mapping[str, Any], shape: tuple[int, ...], own: dict[str, Tensor]) -> DataSpec:
    try:
        transform = transform_from(fields["transform"], own)
    except KeyError as error:
        raise _refusal(f"no tensor transform.{error.args[0]}", f"all of a {fields['transform']!r}") from error
    names = tuple(fields["class_names"])
    notices = tuple(fields.get("notices", ()))
    return DataSpec(fields["source"], shape, names, transform, fields["fingerprint"], fields["task"], notices)


def _refusal(received: str, expected: str) -> IntegrityError:
    return IntegrityError(
        "reading what a saved set was made from",
        received=received,
        expected=expected,
        remedy="the manifest was altered or written by another program: take a fresh copy of the folder",
    )


def _require(holds: bool, received: str, expected: str) -> None:
    if not holds:
        raise _refusal(received, expected)

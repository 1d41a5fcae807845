"""The augmentations that a matrix trains under: each is a protocol of its own, with its own hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from decoct.data.dataset import DataSpec
from decoct.errors import ConfigError
from decoct.evaluation.protocol import DSA, DSA_WITHOUT_FLIP, Protocol
from decoct.registry import unknown_name

OWN = "protocol"
_NOTHING = {"augment": "", "mix": ""}
_CHANGES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        OWN: {},
        "none": _NOTHING,
        "dsa": {**_NOTHING, "augment": DSA},
        "dsa-without-flip": {**_NOTHING, "augment": DSA_WITHOUT_FLIP},
        "cutmix": {**_NOTHING, "mix": "cutmix"},
        "mixup": {**_NOTHING, "mix": "mixup"},
        "randaugment": {**_NOTHING, "augment": "randaugment"},
    }
)
AUGMENTATIONS = tuple(_CHANGES)
"""What `evaluate --augment` takes; "protocol" is whatever the protocol itself does."""
_FOR_FEATURES = (OWN, "none", "mixup")


def with_augmentation(protocol: Protocol, name: str) -> Protocol:
    """`protocol` with the augmentation `name` in place of its own, everything else as it is, named "protocol+name".

    Where that changes nothing the protocol itself comes back, so that runs are shared. Raises `UnknownNameError`.
    """
    if name not in _CHANGES:
        raise unknown_name("augmentation", name, list(AUGMENTATIONS))
    fit = replace(protocol.fit, **_CHANGES[name])
    return protocol if fit == protocol.fit else replace(protocol, name=f"{protocol.name}+{name}", fit=fit)


def require_fitting(name: str, spec: DataSpec) -> None:
    """Raise `ConfigError` for an augmentation of images on a table of features, before anything is trained."""
    if not spec.is_image and name in AUGMENTATIONS and name not in _FOR_FEATURES:
        raise ConfigError(
            f"judging under the augmentation {name!r}",
            received=f"rows of shape {list(spec.shape)}, a table of features",
            expected="images [channels, height, width]",
            remedy=f"choose among {', '.join(_FOR_FEATURES)}",
        )

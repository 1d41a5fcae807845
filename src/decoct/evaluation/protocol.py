"""`Protocol`: how a network is trained on a compact set and measured, with a name and a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, TypeGuard

from decoct.data.dataset import DataSpec
from decoct.errors import ConfigError
from decoct.registry import unknown_name
from decoct.settings import require_at_least
from decoct.training.config import FitConfig

DSA = "color_crop_cutout_flip_scale_rotate"
DSA_WITHOUT_FLIP = "color_crop_cutout_scale_rotate"


@dataclass(frozen=True)
class Protocol:
    """One way to train and measure, the same for everything that is judged.

    A pass shows every row of the set once; a set that is not larger than a batch is one batch, so that a pass is one
    step. The loss follows the labels: cross-entropy for hard labels, KL for probabilities, squared error for scores.
    Features are never augmented, whatever the protocol does to images.
    """

    name: str
    """What it is called in tables."""
    fit: FitConfig
    """How a network is trained on a compact set or on a baseline of the same bytes."""
    full_epochs: int
    """Passes over the whole training split for the full-data line and for the teacher of the baselines."""
    full_samples: int
    """At most so many rows are shown to a network of the full-data line: fewer passes over larger data, at least 1."""
    full_batch: int = 256
    """Rows of one step there; the smaller, the more steps a pass is."""
    checks: int = 10
    """How often validation accuracy is looked at during a run, to choose the validation-selected weights."""
    val_rows: int = 2000
    """At most so many validation rows are used for that, drawn once for each data set."""

    def __post_init__(self) -> None:
        least = dict.fromkeys(("full_epochs", "full_samples", "full_batch", "checks", "val_rows"), 1)
        require_at_least(self, "a Protocol", **least)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of every field, as hex; two protocols with one hash do the same."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def short_hash(self) -> str:
        """The first 12 digits of `hash`, for people."""
        return self.hash[:12]

    def full_passes(self, rows: int) -> int:
        """Passes over real data of so many rows: `full_epochs`, or fewer where `full_samples` says so, at least 1."""
        return max(1, min(self.full_epochs, self.full_samples // max(1, rows)))

    def fit_on(self, spec: DataSpec) -> FitConfig:
        """The training on rows of `spec`: `fit`, without augmentation where the rows are features."""
        return self.fit if spec.is_image else replace(self.fit, augment="")

    def fit_full(self, spec: DataSpec, rows: int) -> FitConfig:
        """The training of the full-data line: `fit_on` with `full_passes(rows)` epochs of `full_batch` rows a step."""
        return replace(self.fit_on(spec), epochs=self.full_passes(rows), batch_size=self.full_batch)

    def check_every(self, epochs: int) -> int:
        """Epochs between two looks at validation accuracy, so that there are about `checks` of them."""
        return max(1, round(epochs / self.checks))

    def facts(self) -> dict[str, Any]:
        """Every field and the hash as plain JSON values."""
        return {**asdict(self), "hash": self.hash}


_DC = FitConfig(
    optimizer="sgd", lr=0.01, momentum=0.9, weight_decay=5e-4, epochs=300, batch_size=256, schedule="step"
)  # fmt: skip
_SOFT = FitConfig(
    optimizer="adamw", lr=1e-3, weight_decay=0.01, epochs=300, batch_size=256, schedule="cosine",
    augment=DSA_WITHOUT_FLIP,
)  # fmt: skip
_QUICK = replace(_SOFT, epochs=200)

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            Protocol("dc-300", _DC, full_epochs=60, full_samples=3_000_000),
            Protocol("dsa-1000", replace(_DC, epochs=1000, augment=DSA), full_epochs=100, full_samples=5_000_000),
            Protocol("soft-300", _SOFT, full_epochs=60, full_samples=3_000_000),
            Protocol("soft-1000", replace(_SOFT, epochs=1000), full_epochs=60, full_samples=3_000_000),
            Protocol("quick", _QUICK, full_epochs=15, full_samples=300_000, full_batch=64),
        )
    }
)
"""The presets by name; docs/protocols.md explains each."""


@dataclass(frozen=True)
class Course(Protocol):
    """The protocol "own" of a set that was made for a few steps in a fixed order, each with its learned step size.

    A network sees `len(lrs)` batches and no more, by plain SGD without augmentation, from a fresh initialisation
    (Dataset Distillation, Wang et al., 2018, https://arxiv.org/abs/1811.10959); `evaluation.course` walks it. The
    baselines beside the set are trained along the same steps. `fit` is for the full-data line alone: nothing in it can
    be changed for the set, so that a search or an augmentation raises `ConfigError`.
    """

    lrs: tuple[float, ...] = ()
    """The step size of each step."""
    per_class: int = 1
    """Rows of every class in a step, in the order of the set, from the first again after the last."""
    momentum: float = 0.0
    """Momentum of the SGD."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fit != PROTOCOLS["dsa-1000"].fit:
            raise ConfigError(
                "judging a set along its own steps",
                received="other training settings, as a search or an augmentation asks for",
                expected="the steps and the step sizes that were learned with the set, and nothing beside them",
                remedy="leave the search and the augmentations out, or choose a protocol by name, such as soft-300",
            )

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "lrs": list(self.lrs)}


def own_protocol(learned: Mapping[str, Any], name: str = "the set") -> Protocol:
    """The training that a set was made for, as far as it was learned with it.

    `dsa-1000` with the learned step size where there is one (trajectory matching: mtt, tesla, datm); a `Course` where
    each step has its own and the rows have an order (dd). A common protocol compares sets; this one says what a set is
    worth under the settings it was made for, and has a name of its own, "own", so that the two are never mixed.

    Raises `ConfigError` for a set without learned step sizes, and for one whose step sizes belong to no order of its
    rows that is stored with it.
    """
    base = PROTOCOLS["dsa-1000"]
    if "lrs" in learned:
        return _course(base, learned, name)
    rate = learned.get("lr")
    if not _positive(rate):
        raise _no_own(
            name, f"learned settings {', '.join(map(str, learned)) or 'none'}",
            "a step size `lr` that was learned with the set (recipes mtt, tesla, datm), or one for each step (dd)",
        )  # fmt: skip
    return replace(base, name="own", fit=replace(base.fit, lr=float(rate)))


def _course(base: Protocol, learned: Mapping[str, Any], name: str) -> Course:
    rates, per_class = learned["lrs"], learned.get("ordered")
    momentum: Any = learned.get("momentum", 0.0)
    known = isinstance(rates, list) and len(rates) > 0 and all(map(_positive, rates))
    still = momentum == 0 or (_positive(momentum) and momentum < 1)
    if not known or type(per_class) is not int or per_class < 1 or not still:
        raise _no_own(
            name,
            f"step sizes `lrs` with ordered={per_class!r} and momentum={momentum!r}",
            "positive step sizes, and how many rows of every class each step takes in the order of the set "
            "(`ordered`, stored by the recipe dd)",
        )
    same: dict[str, Any] = {field.name: getattr(base, field.name) for field in fields(Protocol)}
    steps = {"lrs": tuple(map(float, rates)), "per_class": per_class, "momentum": float(momentum)}
    return Course(**{**same, **steps, "name": "own"})


def _positive(value: object) -> TypeGuard[float]:
    return isinstance(value, float | int) and not isinstance(value, bool) and 0 < value < float("inf")


def _no_own(name: str, received: str, expected: str) -> ConfigError:
    return ConfigError(
        f"judging {name} under its own protocol",
        received=received,
        expected=expected,
        remedy="choose a protocol by name, such as soft-300, or distil the set again with the recipe dd",
    )


def protocol_from(protocol: str | Protocol) -> Protocol:
    """The preset of that name; a `Protocol` is handed through. Raises `UnknownNameError` with the nearest names."""
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, sorted(PROTOCOLS))
    return PROTOCOLS[protocol]

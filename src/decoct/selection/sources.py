"""What a selector may ask for: features, training dynamics, a trained network; each made once, when first asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.engine import Engine
from decoct.networks.build import narrow_network
from decoct.networks.identity import network_identity
from decoct.progress import progress
from decoct.selection.features import RULE, Table, feature_kind
from decoct.selection.features import features as features_of
from decoct.selection.kept_features import kept_features
from decoct.selection.pretrained import PREFIX, backbone_identity
from decoct.selection.repeated import digest
from decoct.streams import derive_seed
from decoct.training.dynamics import Dynamics, record_dynamics
from decoct.training.expert import short_training, train_expert

NETWORK = "network:"
"""How a network to be trained for its features is named as their kind: network:NAME."""
PASSES = 20
"""Passes of a training whose dynamics are recorded."""


@dataclass(frozen=True, eq=False)
class Sources:
    """The data to select from, and what can be known about its training rows.

    `features` is a kind (`features.features`) or the user's array. `cache` is a folder in which recordings and experts
    are kept; without it they are made once for this call.
    """

    data: Dataset
    features: str | Table
    seed: int
    device: str
    cache: Path | None = None
    groups: tuple[Int64[Tensor, " _"], ...] = ()
    """Training rows of every group that will be picked from, in turn; empty where that is not known beforehand."""
    wanted: tuple[int, ...] = ()
    """How many rows of each group are asked for."""
    engine: Engine | None = None
    """What embeds the rows, or looks at them, with a trained network; None for this process, on all its cores."""
    record: list[dict[str, Any]] = field(default_factory=list)
    """What a selector wants to be remembered, plain JSON: it stands in the coreset's provenance."""
    trained_on: set[str] = field(default_factory=set)
    """The devices on which the networks were trained that were asked for so far, where the cache knows: what was
    trained on one serves on all."""

    @cached_property
    def kind(self) -> str:
        """What `features` stands for with these data."""
        return feature_kind(self.data, self.features)

    @cached_property
    def table(self) -> Float[Tensor, "n d"]:
        """Features of every training row, kept in `cache` where they are not the user's own."""

        def compute() -> Float[Tensor, "n d"]:
            return features_of(self.data, self.features, self.seed, self.device, self.engine)

        if self.cache is None or self.kind in ("array", "pixels"):
            table, device = compute(), self.device
        else:
            spec = self.data.spec
            facts = {"rule": RULE, "fingerprint": spec.fingerprint, "transform": spec.transform.kind,
                     "ids": self.data.rows_key, "kind": self.content, "seed": self.seed}  # fmt: skip
            table, device = kept_features(self.cache, facts, compute, self.device)
        if self.kind.startswith(NETWORK):
            self.was_trained(device)
        return table

    @property
    def content(self) -> str:
        """The kind, with what a name of the user's stands for now: a factory or a folder may have been edited."""
        if self.kind.startswith(PREFIX):
            return PREFIX + backbone_identity(self.kind.removeprefix(PREFIX))
        named = self.kind.removeprefix(NETWORK)
        if named == self.kind:
            return self.kind
        return NETWORK + self.network_content

    @property
    def network(self) -> str:
        """The network that is trained for the purpose: that of the features where they name one, else a narrow one."""
        named = self.kind.removeprefix(NETWORK)
        if named != self.kind:
            return named
        return narrow_network(self.data.spec.shape)

    @property
    def network_content(self) -> str:
        """That network, with what its name stands for now (`network_identity`)."""
        return network_identity(self.network, self.data.spec.shape, self.data.spec.classes)

    def followed(self, kind: str, trains: bool) -> dict[str, str]:
        """What picks follow from beside the names that are asked for: the contents of arrays, networks and folders.

        `kind` is that of the features that are looked at, "none" for none; `trains` says whether a network is trained
        for the picks themselves. It stands in the provenance, so that what was edited since is another question.
        """
        told = {"network": self.network_content} if trains else {}
        if kind == "array":
            told["features_key"] = digest(self.table.numpy())
        elif kind not in ("none", self.content):
            told["features_key"] = self.content
        return told

    @cached_property
    def dynamics(self) -> Dynamics:
        """What a network thought of every training row after each of `PASSES` passes."""
        seed = derive_seed(self.seed, "dynamics")
        with progress(f"training {self.network} and watching every row", float(PASSES)) as tick:
            found = record_dynamics(
                self.data, self.network, PASSES, seed, self.device, cache=self.cache, tick=tick, engine=self.engine
            )  # fmt: skip
        self.was_trained(found.device)
        return found

    @cached_property
    def expert(self) -> nn.Module:
        """A network trained on the training split, in eval mode, at its best pass on validation."""
        seed = derive_seed(self.seed, "expert")
        passes = short_training(len(self.data.train))
        with progress(f"training {self.network} for its gradients", float(passes)) as tick:
            found = train_expert(self.data, self.network, passes, seed, self.device, cache=self.cache, tick=tick)
        self.was_trained(found.device)
        return found.module.eval()

    def was_trained(self, device: str | None) -> None:
        """Remember where a network was trained; None where nobody knows."""
        self.trained_on.update(() if device is None else (device,))

    def none(self) -> Float[Tensor, "n 1"]:
        """A table for selectors that need no features."""
        return torch.zeros(len(self.data.train), 1)

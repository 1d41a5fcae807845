"""`decoct apply WHAT`: use compact sets, and measure what they are worth for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import subcommand

from decoct.cli import (
    apply_architectures,
    apply_continual,
    apply_federated,
    apply_graph,
    apply_hyperparameters,
    apply_privacy,
)

Options = (
    Annotated[apply_architectures.Options, subcommand("architectures")]
    | Annotated[apply_continual.Options, subcommand("continual")]
    | Annotated[apply_federated.Options, subcommand("federated")]
    | Annotated[apply_graph.Options, subcommand("graph")]
    | Annotated[apply_hyperparameters.Options, subcommand("hyperparameters")]
    | Annotated[apply_privacy.Options, subcommand("privacy")]
)
"""A new application adds `cli/apply_<name>.py` with `Options`, `run` and `show`, and a line here."""

if TYPE_CHECKING:
    from types import ModuleType


def run(options: Any) -> dict[str, Any]:
    """Run the application whose options these are."""
    return {"application": _name(options), **_file(options).run(options)}


def show(result: dict[str, Any]) -> str:
    """What it found, for a person."""
    return sys.modules[f"decoct.cli.apply_{result['application']}"].show(result)


def _file(options: Any) -> ModuleType:
    return sys.modules[type(options).__module__]


def _name(options: Any) -> str:
    return type(options).__module__.rpartition("apply_")[2]

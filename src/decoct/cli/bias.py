"""`decoct bias make|weigh|measure`: biased sets, weights against a bias, and how much of it a set keeps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import subcommand

from decoct.cli import bias_make, bias_measure, bias_weigh

Options = (
    Annotated[bias_make.Options, subcommand("make")]
    | Annotated[bias_weigh.Options, subcommand("weigh")]
    | Annotated[bias_measure.Options, subcommand("measure")]
)

if TYPE_CHECKING:
    from types import ModuleType


def run(options: Any) -> dict[str, Any]:
    """Run the part whose options these are."""
    part: ModuleType = sys.modules[type(options).__module__]
    return {"part": part.__name__.rpartition("bias_")[2], **part.run(options)}


def show(result: dict[str, Any]) -> str:
    """What it did, for a person."""
    return sys.modules[f"decoct.cli.bias_{result['part']}"].show(result)

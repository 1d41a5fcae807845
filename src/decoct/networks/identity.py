"""What a network's name stands for, told by contents: by its name alone, an earlier version's cache would be read."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from decoct.networks.build import foreign_target, network
from decoct.registry import load_object


def network_identity(name: str, shape: tuple[int, ...], classes: int) -> str:
    """`name`, and for a network from outside decoct a hash of what it is made of as well; stands in keys of caches.

    The hash is `module_identity` of the network under seed 0. Cost: building it once. Raises what `network` raises.
    """
    target = foreign_target(name)
    return name if target is None else f"{name}@{module_identity(target, network(name, shape, classes, 0))}"


def foreign_identities(names: Iterable[str], shape: tuple[int, ...], classes: int) -> dict[str, str]:
    """`network_identity` of those of these networks that come from outside decoct, by name; raises what that raises."""
    return {name: network_identity(name, shape, classes) for name in names if foreign_target(name) is not None}


def module_identity(target: str, module: nn.Module) -> str:
    """16 hex digits of what this module, made by the factory `target` ("module:object"), is made of.

    They are of the source files of the factory and of all parts of the module that come from neither torch nor decoct,
    of how it is built up, of the weights that it has now, so that pretrained ones count too, and of which are frozen.
    What those files import is not looked at.
    """
    # Where a setting lies in memory is another place in every process.
    found = hashlib.sha256(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(module)).encode())
    for file in sorted(_sources(target, module)):
        found.update(file.read_bytes())
    for key, values in module.state_dict().items():
        found.update(f"{key} {values.dtype} {tuple(values.shape)}".encode())
        found.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    if frozen := [key for key, value in module.named_parameters() if not value.requires_grad]:
        found.update(f"frozen {frozen}".encode())
    return found.hexdigest()[:16]


def _sources(target: str, module: nn.Module) -> set[Path]:
    """The files that the factory and the parts of its network were written in."""
    names = {type(part).__module__ for part in module.modules()}
    names |= {target.partition(":")[0], getattr(load_object(target), "__module__", None) or ""}
    own = [sys.modules.get(name) for name in names if name.partition(".")[0] not in ("torch", "decoct")]
    # Modules without a file were typed into an interpreter.
    files = [inspect.getsourcefile(part) for part in own if part is not None and getattr(part, "__file__", None)]
    return {Path(file) for file in files if file is not None and Path(file).is_file()}

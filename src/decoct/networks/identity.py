"""What a network's name stands for, told by contents: by its name alone, an earlier version's cache would be read."""

from __future__ import annotations

import hashlib
import inspect
import sys
from pathlib import Path

import torch
from torch import nn

from decoct.networks.build import foreign_target, network
from decoct.registry import load_object


def network_identity(name: str, shape: tuple[int, ...], classes: int) -> str:
    """`name`, and for a network from outside decoct a hash of what it is made of as well; stands in keys of caches.

    The hash is of the source files of the factory and of all modules of its network that come from neither torch nor
    decoct, of how the network is built up, of its first weights under seed 0, so that pretrained ones count too, and of
    which are frozen.
    What those files import is not looked at. Cost: building the network once. Raises what `network` raises.
    """
    target = foreign_target(name)
    if target is None:
        return name
    module = network(name, shape, classes, 0)
    found = hashlib.sha256(repr(module).encode())
    for file in sorted(_sources(target, module)):
        found.update(file.read_bytes())
    for key, values in module.state_dict().items():
        found.update(f"{key} {values.dtype} {tuple(values.shape)}".encode())
        found.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    if frozen := [key for key, value in module.named_parameters() if not value.requires_grad]:
        found.update(f"frozen {frozen}".encode())
    return f"{name}@{found.hexdigest()[:16]}"


def _sources(target: str, module: nn.Module) -> set[Path]:
    """The files that the factory and the parts of its network were written in."""
    names = {type(part).__module__ for part in module.modules()}
    names |= {target.partition(":")[0], getattr(load_object(target), "__module__", None) or ""}
    own = [sys.modules.get(name) for name in names if name.partition(".")[0] not in ("torch", "decoct")]
    # Modules without a file were typed into an interpreter.
    files = [inspect.getsourcefile(part) for part in own if part is not None and getattr(part, "__file__", None)]
    return {Path(file) for file in files if file is not None and Path(file).is_file()}

"""Builds and loads the stand-in device of `device.cpp`; torch then knows it as `stand_in`.

PYTHONPATH=tests python -m pytest -o addopts= -W ignore -p stand_in.everywhere tests/analysis   # a whole room
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

NAME = "stand_in"
SOURCE = Path(__file__).with_name("device.cpp")


class NotBuiltError(RuntimeError):
    """There is no compiler, or it refused the source."""


@cache
def device() -> str:
    """The name of the device, made known to torch at the first call. Raises `NotBuiltError`."""
    torch.ops.load_library(str(library()))
    torch.utils.rename_privateuse1_backend(NAME)  # pyright: ignore[reportPrivateImportUsage]
    torch._register_device_module(NAME, _module())  # pyright: ignore[reportPrivateUsage]
    _KEPT.append(_operators())
    _copy_tensors_by_cloning()
    return NAME


_KEPT: list[torch.library.Library] = []


def library() -> Path:
    """The compiled source, built once for each torch by whoever comes first; others wait. Raises `NotBuiltError`."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise NotBuiltError("no C++ compiler: install g++, or name one in CXX")
    key = hashlib.sha256(SOURCE.read_bytes() + torch.__version__.encode()).hexdigest()[:16]
    target = Path(tempfile.gettempdir()) / f"decoct-stand-in-{os.getuid()}-{key}.so"
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            part = target.with_suffix(".part")
            home = Path(torch.__path__[0])
            include = [f"-I{home / 'include'}", f"-I{home / 'include/torch/csrc/api/include'}"]
            abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
            linked = [f"-L{home / 'lib'}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{home / 'lib'}"]
            order = [compiler, "-std=c++20", "-O0", "-w", "-shared", "-fPIC", abi, *include, str(SOURCE)]
            done = subprocess.run([*order, "-o", str(part), *linked], capture_output=True, text=True, check=False)
            if done.returncode:
                raise NotBuiltError(f"{compiler} refused {SOURCE.name}: {done.stderr[-2000:]}")
            part.rename(target)
    return target


def _module() -> ModuleType:
    """What torch asks of `torch.stand_in`."""
    module = ModuleType(f"torch.{NAME}")
    facts: dict[str, Any] = {
        "is_available": lambda: True, "device_count": lambda: 1, "current_device": lambda: 0,
        "set_device": lambda index: None, "synchronize": lambda *device: None, "_is_in_bad_fork": lambda: False,
        "manual_seed_all": lambda seed: None, "get_amp_supported_dtype": lambda: [torch.bfloat16, torch.float16],
        "get_rng_state": lambda *device: torch.zeros(1, dtype=torch.uint8), "set_rng_state": lambda *state: None,
    }  # fmt: skip
    for name, value in facts.items():
        setattr(module, name, value)
    return module


def _operators() -> torch.library.Library:
    """What a fallback cannot do: convolutions, BatchNorm, the choice of an attention kernel."""
    library = torch.library.Library("aten", "IMPL")

    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        return torch.ops.aten.convolution(*_all_here(x, weight, bias), *rest).to(NAME)

    def backward(gradient: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor | None, ...]:
        *geometry, transposed, padding, groups, wanted = rest
        sizes = [weight.shape[1] * groups if transposed else weight.shape[0]] if wanted[2] else None
        given = _all_here(gradient, x, weight)
        found = torch.ops.aten.convolution_backward(*given, sizes, *geometry, transposed, padding, groups, wanted)
        return tuple(None if part is None else part.to(NAME) for part in found)

    def batch_norm(x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        """Its declaration hides that running statistics are changed in place, so that a fallback would lose them."""
        *tensors, training, momentum, eps = rest
        given = _all_here(x, *tensors)
        found = torch.ops.aten.native_batch_norm(*given, training, momentum, eps)
        for own, changed in zip(tensors[2:], given[3:], strict=True):
            if training and own is not None:
                own.copy_(changed)
        return tuple(part.to(NAME) for part in found)

    library.impl("native_batch_norm", batch_norm, "PrivateUse1")
    library.impl("convolution_overrideable", forward, "PrivateUse1")
    library.impl("convolution_backward_overrideable", backward, "PrivateUse1")
    library.impl("_fused_sdp_choice", lambda *_, **__: 0, "PrivateUse1")
    return library


def _all_here(*tensors: Tensor | None) -> list[Any]:
    if any(tensor is not None and tensor.device.type != NAME for tensor in tensors):
        raise RuntimeError("Expected all tensors to be on the same device")
    return [None if tensor is None else tensor.cpu() for tensor in tensors]


def _copy_tensors_by_cloning() -> None:
    """torch copies the storage of a tensor byte by byte in `copy.deepcopy`, which a device of this kind cannot do."""
    for kind in (Tensor, nn.Parameter):
        kind.__deepcopy__ = _deep_copy(kind.__deepcopy__)


def _deep_copy(usual: Any) -> Any:
    def copied(self: Tensor, memo: dict[int, Any]) -> Tensor:
        if self.device.type != NAME:
            return usual(self, memo)
        if id(self) not in memo:
            fresh = self.detach().clone()
            is_parameter = isinstance(self, nn.Parameter)
            memo[id(self)] = (
                nn.Parameter(fresh, self.requires_grad) if is_parameter else fresh.requires_grad_(self.requires_grad)
            )
        return memo[id(self)]

    return copied

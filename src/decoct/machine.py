"""What machine this is and how much of it was used: facts for manifests, benchmarks and estimates."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from decoct.durations import show_bytes
from decoct.errors import ConfigError, MemoryEstimateError


def library_versions() -> dict[str, str]:
    """Versions of Python, decoct and the packages that can change a result."""
    found = {"python": platform.python_version()}
    for name in ("decoct", "torch", "numpy", "safetensors", "pillow", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, str | int]:
    """Processor model, usable cores, memory in bytes, and the accelerator if torch sees one."""
    import torch

    facts: dict[str, str | int] = {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory": total_memory(),
        "system": platform.system(),
    }
    if torch.cuda.is_available():
        facts["accelerator"] = torch.cuda.get_device_name(0)
    return facts


def best_device() -> str:
    """The accelerator torch sees first, else the processor."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def usable_device(name: str | None) -> str:
    """`name` where torch can compute there, or the best device for None; raises `ConfigError`."""
    import torch

    if name is None:
        return best_device()
    try:
        torch.zeros(1, device=name).tolist()
    except (RuntimeError, AssertionError, ValueError) as error:
        # Builds of torch without an accelerator say so in an AssertionError.
        seen = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise ConfigError(
            "choosing a device",
            received=f"{name!r} ({str(error).partition(chr(10))[0][:200]})",
            expected=f"a device that torch sees here: {', '.join(seen)}",
            remedy="name one of these, or leave the device out to take the fastest",
        ) from error
    return name


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def total_memory() -> int:
    """Physical memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available_memory() -> int:
    """Bytes that can be taken without swapping, as the system estimates it."""
    info = Path("/proc/meminfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable"):
                return int(line.split()[1]) * 1024
    return total_memory() // 2


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def require_memory(what: str, needed: int, remedy: str) -> None:
    """Raise `MemoryEstimateError` if `needed` bytes are more than this machine has free."""
    free = available_memory()
    if needed > free:
        raise MemoryEstimateError(
            what,
            received=f"an estimate of {show_bytes(needed)}",
            expected=f"at most {show_bytes(free)}, which is free on this machine",
            remedy=remedy,
        )

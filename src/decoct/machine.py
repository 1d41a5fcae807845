"""What machine this is and how much of it was used: facts for manifests, benchmarks and estimates."""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
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
    """Processor model and vector units, usable cores, memory in bytes, and the accelerator if torch sees one."""
    import torch

    units = torch.backends.cpu.get_cpu_capability()
    facts: dict[str, str | int] = {
        "processor": _processor(),
        "vectors": f"{units} with bfloat16" if native_bfloat16("cpu") else units,
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


@cache
def native_bfloat16(device: str) -> bool:
    """Whether `device` multiplies numbers of bfloat16 itself; where that is imitated it is many times slower than
    float32."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    units = torch.cpu.get_capabilities()
    if units.get("architecture") == "x86_64":
        return bool(units.get("avx512_bf16") or units.get("amx_bf16"))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


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


def total_memory(root: Path = Path("/")) -> int:
    """Bytes of main memory that this process could ever have.

    That is what the machine has or, where less, the tightest limit that holds for this process (control groups, as
    containers have them). `root` is where the folders proc and sys lie.
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *(group.limit for group in _groups(root))])


def available_memory(device: str = "cpu") -> int:
    """Bytes that can be taken without swapping, as `free_memory` says; on CUDA those of the accelerator itself."""
    if device.startswith("cuda"):
        import torch

        if torch.cuda.is_available():
            # What torch keeps for its next tensors is free as well.
            own = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            return torch.cuda.mem_get_info(device)[0] + own
    return free_memory()


def free_memory(root: Path = Path("/")) -> int:
    """Bytes of main memory that can be taken without swapping, nor being killed for it.

    That is what the system estimates or, where less, what the limits leave that this process stands under with others
    (control groups, as containers have them). `root` is where the folders proc and sys lie.
    """
    free, info = total_memory(root) // 2, root / "proc/meminfo"
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable"):
                free = int(line.split()[1]) * 1024
    return max(0, min([free, *(group.left for group in _groups(root))]))


@dataclass(frozen=True)
class _Group:
    """A control group that holds this process, or one above it, with a limit of memory."""

    limit: int
    """Bytes."""
    left: int
    """What of them is not taken, as it was when it was looked at."""


def _groups(root: Path) -> Iterator[_Group]:
    """Those there are."""
    groups, mounted = root / "proc/self/cgroup", root / "sys/fs/cgroup"
    for line in groups.read_text().splitlines() if groups.exists() else []:
        number, kinds, path = line.split(":", 2)
        if number == "0":
            base, limit, used, prefix = mounted, "memory.max", "memory.current", ""
        elif "memory" in kinds.split(","):
            base, limit, used, prefix = mounted / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
        else:
            continue
        # Within a container the path may be that of the machine: then only the top is there, and is the container's.
        folder = base / path.strip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(base):
                break
            try:
                most, taken = ((group / name).read_text().strip() for name in (limit, used))
                stat = dict(part.split() for part in (group / "memory.stat").read_text().splitlines())
            except OSError:
                continue
            if most != "max":
                # Pages of files are counted, and are given up when memory is asked for.
                files = sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
                yield _Group(int(most), int(most) - max(0, int(taken) - files))


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    # What `getrusage` says begins at the size of the process that started this one.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def require_memory(what: str, needed: int, remedy: str, device: str = "cpu") -> None:
    """Raise `MemoryEstimateError` if `needed` bytes are more than this machine, or this device of it, has free."""
    free = available_memory(device) if device.startswith("cuda") else available_memory()
    if needed > free:
        raise MemoryEstimateError(
            what,
            received=f"an estimate of {show_bytes(needed)}",
            expected=f"at most {show_bytes(free)}, which is free on "
            + (device if device.startswith("cuda") else "this machine"),
            remedy=remedy,
        )

"""Experts: networks trained on the real data, with a copy of the weights after every pass."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.errors import ConfigError
from decoct.machine import require_memory
from decoct.networks.build import network as build_network
from decoct.networks.identity import network_identity
from decoct.progress import Ticker
from decoct.tensor_file import write_tensors
from decoct.training.accuracy import accuracy
from decoct.training.checkpoint import under
from decoct.training.config import FitConfig
from decoct.training.fit import fit_dataset
from decoct.training.halfway import Halfway
from decoct.training.job import Build

Snapshots = list[dict[str, Tensor]]
SMALL = 5000
"""Training rows below which batches of 64 are used instead of 256, so that a pass is enough steps."""


@dataclass(frozen=True, eq=False)
class Expert:
    """A network trained on real data.

    `module` has the weights of `epoch`, the one of best validation accuracy (the first of equals), and is in eval
    mode on the CPU's or the asked device. `snapshots[e - 1]` are copies on the CPU of the weights after pass e, and
    `val_accuracy[e - 1]` is the accuracy (fraction) on the validation split there.

    Small sets are best taught by an early expert: Qin, Deng & Alvarez-Melis, "A Label is Worth a Thousand Images in
    Dataset Distillation" (2024, https://arxiv.org/abs/2406.10485).
    """

    module: nn.Module
    snapshots: list[dict[str, Tensor]]
    val_accuracy: list[float]
    epoch: int
    device: str | None = None
    """Where it was trained; None where an expert of an earlier version does not say."""

    def module_at(self, epoch: int) -> nn.Module:
        """A network of its own with the weights after pass `epoch` (from 1), in eval mode; raises `ConfigError`."""
        if not 1 <= epoch <= len(self.snapshots):
            raise ConfigError(
                "taking an expert of an earlier pass",
                received=f"epoch {epoch}",
                expected=f"a number from 1 to {len(self.snapshots)}",
                remedy="train the expert for more epochs, or ask for one that it had",
            )
        module = copy.deepcopy(self.module)
        module.load_state_dict(self.snapshots[epoch - 1])
        return module.eval()


def expert_config(rows: int, epochs: int) -> FitConfig:
    """How an expert is trained on so many rows: SGD 0.01 with momentum 0.9 down a cosine, nothing augmented."""
    return FitConfig(
        optimizer="sgd", lr=0.01, momentum=0.9, weight_decay=5e-4, epochs=epochs, schedule="cosine",
        batch_size=64 if rows < SMALL else 256,
    )  # fmt: skip


def passes_of(rows: int, epochs: int, steps: int, most: int) -> int:
    """`epochs` passes over so many rows, or as many as make `steps` steps of `expert_config`, `most` at most."""
    each = math.ceil(max(rows, 1) / (expert_config(rows, epochs).batch_size or max(rows, 1)))
    return max(epochs, min(most, math.ceil(steps / each)))


def short_training(rows: int) -> int:
    """Passes of a training that is done for features or gradients: 5, or up to 50 where few rows make few steps."""
    return passes_of(rows, 5, 200, 50)


def train_expert(
    data: Dataset,
    network: str,
    epochs: int,
    seed: int,
    device: str = "cpu",
    *,
    config: FitConfig | None = None,
    cache: Path | None = None,
    tick: Ticker | None = None,
) -> Expert:
    """Train `network` on the whole training split of `data` with hard labels; choose its epoch on `val`.

    `config` replaces `expert_config` (its epochs are set to `epochs`). With `cache`, a folder, an expert that was
    trained before on the same data with the same settings, on whatever device, is read instead, and one that was killed
    on its way goes on after a pass that ended about a minute before, to the same bits. Cost O(epochs * n) forward and
    backward passes and one validation pass each; memory O(epochs * parameters). Raises `UnknownNameError` for a network
    that does not exist, `ConfigError` for one that does not fit the data or cannot be built, `MemoryEstimateError`
    where the snapshots would not fit, `DivergenceError` when a loss is not finite, `OutputError` where the cache cannot
    be written.
    """
    chosen = replace(config or expert_config(len(data.train), epochs), epochs=epochs)

    def build(start: int) -> nn.Module:
        return build_network(network, data.spec.shape, data.spec.classes, start)

    facts = {"fingerprint": data.spec.fingerprint, "transform": data.spec.transform.kind, "rows": len(data.train),
             "ids": data.rows_key,
             "network": network_identity(network, data.spec.shape, data.spec.classes),
             "seed": seed, "config": asdict(chosen)}  # fmt: skip
    path = None if cache is None else cache / f"expert-{_key(facts)}.safetensors"
    found = None if path is None else _read(path, facts, build(seed))
    if found is None:
        snapshots: Snapshots = []
        halfway = None if path is None else _halfway(path, facts, snapshots)
        found = _trained(build, data, chosen, seed, snapshots, device=device, tick=tick, halfway=halfway)
        if path is not None and halfway is not None:
            _write(path, facts, found)
            halfway.drop()
    found.module.to(device)
    return found


def _trained(
    build: Build, data: Dataset, config: FitConfig, seed: int, snapshots: Snapshots, *, device: str,
    tick: Ticker | None, halfway: Halfway | None,
) -> Expert:  # fmt: skip
    size = sum(part.numel() * part.element_size() for part in build(seed).state_dict().values())
    require_memory("keeping an expert of every pass", size * config.epochs, "train it for fewer epochs")

    def look(module: nn.Module, epoch: int) -> float:
        # A copy: on the CPU `.cpu()` would hand out the very weights that go on training.
        copies = {name: part.detach().cpu().clone() for name, part in module.state_dict().items()}
        snapshots.append({name: part.contiguous() for name, part in copies.items()})
        return accuracy(module, data, data.val)

    [fitted] = fit_dataset(
        build, data, config, [seed], device=device, evaluate=look, evaluate_every=1, tick=tick, halfway=halfway
    )
    return _chosen(fitted.module.to("cpu"), snapshots, [value for _, value in fitted.history], device)


def _halfway(path: Path, facts: dict[str, Any], snapshots: Snapshots) -> Halfway:
    """What is kept of an expert on its way: its training, and the snapshots so far."""

    def restore(tensors: dict[str, Tensor]) -> None:
        passes = 1 + max(int(name.partition(".")[0]) for name in tensors)
        snapshots.extend(under(str(epoch), tensors) for epoch in range(1, passes))

    return Halfway(path.with_name(f"{path.stem}-halfway.safetensors"), facts, lambda: _numbered(snapshots), restore)


def _numbered(snapshots: Snapshots) -> dict[str, Tensor]:
    """The weights of all passes under one name each."""
    return {f"{epoch}.{name}": part for epoch, parts in enumerate(snapshots, 1) for name, part in parts.items()}


def _chosen(module: nn.Module, snapshots: Snapshots, val_accuracy: list[float], device: str | None) -> Expert:
    epoch = 1 + val_accuracy.index(max(val_accuracy))
    module.load_state_dict(snapshots[epoch - 1])
    return Expert(module.eval(), snapshots, val_accuracy, epoch, device)


def _key(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _write(path: Path, facts: dict[str, Any], expert: Expert) -> None:
    told = {"facts": json.dumps(facts, sort_keys=True), "val_accuracy": json.dumps(expert.val_accuracy),
            "device": expert.device or ""}  # fmt: skip
    write_tensors(path, _numbered(expert.snapshots), told)


def _read(path: Path, facts: dict[str, Any], module: nn.Module) -> Expert | None:
    """The expert at `path`, or None where there is none of these facts, whole and of this structure."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            if told.get("facts") != json.dumps(facts, sort_keys=True):
                return None
            val_accuracy = json.loads(told["val_accuracy"])
            names = module.state_dict()
            snapshots = [
                {name: file.get_tensor(f"{epoch}.{name}") for name in names}
                for epoch in range(1, len(val_accuracy) + 1)
            ]
        return _chosen(module, snapshots, val_accuracy, told.get("device") or None)
    except (SafetensorError, KeyError, RuntimeError, ValueError):
        return None

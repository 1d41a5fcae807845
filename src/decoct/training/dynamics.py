"""Training dynamics: what a network thinks of every training row after every pass, from one training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.engine import Engine
from decoct.errors import ConfigError
from decoct.networks.build import narrow_network, network
from decoct.networks.identity import network_identity
from decoct.networks.layers import require_choice
from decoct.progress import Ticker
from decoct.tensor_file import write_tensors
from decoct.training.accuracy import accuracy
from decoct.training.checkpoint import under
from decoct.training.config import FitConfig
from decoct.training.fit import fit_dataset
from decoct.training.halfway import Halfway
from decoct.training.job import Watch
from decoct.training.looks import Overheard, Telling, Watched, observe

SMALL = 5000
"""Training rows below which batches of 32 are used instead of 128."""
SCHEMA = 2
"""What a recording on disk holds; 1 kept probabilities themselves, in halves."""
Look = Literal["after", "during"]
"""When rows are looked at: after each pass, or in their batches."""
Columns = list[dict[str, Tensor]]
"""What was seen after each pass, as it is kept on disk."""
HALVES = ("margin", "error_norm", "gradient_norm")
"""Facts kept in half precision; the others tell learned rows apart, for which halves are too coarse."""


@dataclass(frozen=True, eq=False)
class Dynamics:
    """One row for each training row, one column for each pass.

    `miss`, 1 minus the probability of the label, in [0, 1]; `margin`, logit of the label minus the largest other;
    `correct`; `error_norm` `||p - e_y||_2`; `gradient_norm` of the cross-entropy for the last layer, weights and bias,
    `||p - e_y|| sqrt(1 + ||h||^2)` with h what that layer is fed, which is exactly the norm of the outer product
    without ever forming it; `entropy` of p in nats; `doubt`, 1 minus the largest entry of p; `rivalry`, 1 minus the
    lead of the largest over the second. What a learned row lacks of 1 is kept, not the probability, because near 1 all
    of them round to the same number. Kept in single precision where learned rows differ (miss, entropy, doubt and
    rivalry), else in half: 23 bytes a row and pass.
    """

    miss: Float[Tensor, "n passes"]
    margin: Float[Tensor, "n passes"]
    correct: Bool[Tensor, "n passes"]
    error_norm: Float[Tensor, "n passes"]
    gradient_norm: Float[Tensor, "n passes"]
    entropy: Float[Tensor, "n passes"]
    doubt: Float[Tensor, "n passes"]
    rivalry: Float[Tensor, "n passes"]
    val_accuracy: tuple[float, ...]
    device: str | None = None
    """Where the network was trained; None where a recording of an earlier version does not say."""

    @property
    def passes(self) -> int:
        return self.miss.shape[1]

    def __len__(self) -> int:
        return len(self.miss)

    @property
    def probability(self) -> Float[Tensor, "n passes"]:
        """Probability of the label; `miss` tells rows apart that round to 1 here."""
        return 1 - self.miss


TABLES = tuple(field.name for field in fields(Dynamics) if field.name not in ("val_accuracy", "device"))


def dynamics_config(rows: int, epochs: int) -> FitConfig:
    """How a network is trained whose dynamics are recorded: SGD 0.05 with momentum 0.9 down a cosine.

    Faster than an expert: dynamics say something once rows differ in when they are learned, which must happen within
    the first few passes.
    """
    return FitConfig(
        optimizer="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4, epochs=epochs, schedule="cosine",
        batch_size=32 if rows < SMALL else 128,
    )  # fmt: skip


def record_dynamics(
    data: Dataset,
    name: str | None = None,
    epochs: int = 20,
    seed: int = 0,
    device: str = "cpu",
    *,
    config: FitConfig | None = None,
    cache: Path | None = None,
    tick: Ticker | None = None,
    engine: Engine | None = None,
    look: Look = "after",
) -> Dynamics:
    """Train network `name` (convnet3-w32 or mlp by default) once on the training split and watch every row.

    An `engine` looks at the rows; the training is one, and stays here. `config` replaces `dynamics_config`; with
    `cache`, a folder, a recording made before on the same data with the same settings and the same network
    (`network_identity`), on whatever device, is read instead, and one that was killed on its way goes on after a pass
    that ended about a minute before, to the same bits.

    `look`: "after" each pass, all rows as they are under the same weights in eval mode, which costs a forward pass
    over the split; or "during" it, each row as its batch shows it to the network in training, which costs next to
    nothing: what forgetting, AUM and dataset cartography were published with. Rows shown late in a pass have learned
    from those before; BatchNorm takes the statistics of the batch.
    Cost: one training, and the looks. Raises `ConfigError` for fewer than 2 passes or classes, another `look`, and
    "during" for rows with weights, which a pass does not show once each, and for mixed rows; `OutputError` where the
    cache cannot be written, and what training raises.
    """
    if epochs < 2:
        raise ConfigError(
            "recording training dynamics", received=f"epochs={epochs}", expected="2 or more",
            remedy="ask for 10 to 30: dynamics are what changes from pass to pass",
        )  # fmt: skip
    chosen = replace(config or dynamics_config(len(data.train), epochs), epochs=epochs)
    require_choice("look of training dynamics", look, get_args(Look))
    if data.spec.classes < 2:
        raise ConfigError(
            "recording training dynamics", received="rows of one class", expected="two classes or more",
            remedy="give rows of another class too: with one there is nothing to learn",
        )  # fmt: skip
    if look == "during":
        _require_each_once(data, chosen)
    name = name or narrow_network(data.spec.shape)
    facts = {"fingerprint": data.spec.fingerprint, "transform": data.spec.transform.kind, "rows": len(data.train),
             "ids": data.rows_key, "schema": SCHEMA,
             "network": network_identity(name, data.spec.shape, data.spec.classes),
             "seed": seed, "config": asdict(chosen)}  # fmt: skip
    if look != "after":
        facts["look"] = look
    told = json.dumps(facts, sort_keys=True)
    path = None if cache is None else cache / f"dynamics-{hashlib.sha256(told.encode()).hexdigest()[:16]}.safetensors"
    columns: Columns = []
    halfway = None if path is None else _halfway(path, facts, columns)
    found = None if path is None else _read(path, told)
    if found is None:
        found = _recorded(data, name, chosen, seed, device, tick, engine, told, columns, halfway, look)
        if path is not None:
            _write(path, told, found)
    if halfway is not None:
        halfway.drop()
    return found


def _require_each_once(data: Dataset, config: FitConfig) -> None:
    """Raise `ConfigError` where a pass would not show every row once, as itself."""
    weighted = data.train.weight() is not None
    if not weighted and not config.mix:
        return
    raise ConfigError(
        "recording training dynamics while batches are trained on",
        received="rows with weights" if weighted else f"rows mixed by {config.mix}",
        expected="every row once in every pass, by itself",
        remedy="look after each pass instead (look='after')",
    )


def _recorded(
    data: Dataset, name: str, config: FitConfig, seed: int, device: str, tick: Ticker | None, engine: Engine | None,
    told: str, columns: Columns, halfway: Halfway | None, look: Look,
) -> Dynamics:  # fmt: skip
    rows, classes = len(data.train) * config.epochs, data.spec.classes
    overheard = Overheard(data.train.labels(), classes) if look == "during" else None

    def ended(module: nn.Module, epoch: int) -> float:
        if overheard:
            column = overheard.take()
        else:
            # The module lives as long as what was compiled for it, so its id is its own.
            column = observe(Watched(f"{told} {id(module)}", classes, rows, module), data, device, engine)
        columns.append(_narrow(column))
        return accuracy(module, data, data.val)

    def build(start: int) -> nn.Module:
        module = network(name, data.spec.shape, classes, start)
        return Telling(module) if overheard else module

    [fitted] = fit_dataset(
        build, data, config, [seed], device=device, evaluate=ended, evaluate_every=1, tick=tick, halfway=halfway,
        watch=Watch(classes, overheard.told) if overheard else None,
    )  # fmt: skip
    return _joined(columns, tuple(value for _, value in fitted.history), device)


def _halfway(path: Path, facts: dict[str, Any], columns: Columns) -> Halfway:
    """What is kept of a recording on its way: its training, and a column for each pass so far."""

    def collected() -> dict[str, Tensor]:
        return {f"{place}.{key}": values for place, column in enumerate(columns) for key, values in column.items()}

    def restore(tensors: dict[str, Tensor]) -> None:
        passes = 1 + max(int(name.partition(".")[0]) for name in tensors)
        columns.extend(under(str(place), tensors) for place in range(passes))

    return Halfway(path.with_name(f"{path.stem}-halfway.safetensors"), facts, collected, restore)


def _joined(columns: Columns, val_accuracy: tuple[float, ...], device: str) -> Dynamics:
    tables = {key: torch.stack([column[key] for column in columns], 1) for key in columns[0]}
    return Dynamics(**_wide(tables), val_accuracy=val_accuracy, device=device)


def _narrow(tables: dict[str, Tensor]) -> dict[str, Tensor]:
    # A margin or a norm beyond the range of halves says "very large" either way.
    halves = {key: tables[key].half().nan_to_num(posinf=65504.0, neginf=-65504.0) for key in HALVES}
    return {**tables, **halves}


def _wide(tables: dict[str, Tensor]) -> dict[str, Any]:
    return {key: values.float() if values.is_floating_point() else values for key, values in tables.items()}


def _tables(dynamics: Dynamics) -> dict[str, Tensor]:
    return _narrow({name: getattr(dynamics, name).contiguous() for name in TABLES})


def _write(path: Path, told: str, dynamics: Dynamics) -> None:
    head = {"facts": told, "val_accuracy": json.dumps(dynamics.val_accuracy), "device": dynamics.device or ""}
    write_tensors(path, _tables(dynamics), head)


def _read(path: Path, told: str) -> Dynamics | None:
    """The recording at `path`, or None where there is none of these facts, whole."""
    try:
        with safe_open(path, framework="pt") as file:
            head = file.metadata() or {}
            if head.get("facts") != told:
                return None
            return Dynamics(
                **_wide({name: file.get_tensor(name) for name in TABLES}),
                val_accuracy=tuple(json.loads(head["val_accuracy"])),
                device=head.get("device") or None,
            )
    except (FileNotFoundError, SafetensorError, KeyError, ValueError):
        return None

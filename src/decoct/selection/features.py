"""What rows are compared by: pixels, principal components, the features of a network, or an array of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.data.feature_table import open_npy
from decoct.data.transform import Transform, Zca
from decoct.engine import Engine, Rows
from decoct.errors import DataError, MismatchError
from decoct.machine import require_memory
from decoct.networks.build import narrow_network, network
from decoct.progress import progress
from decoct.registry import unknown_name
from decoct.selection.components import components
from decoct.selection.pretrained import PREFIX, pretrained_features
from decoct.streams import derive_seed

Table: TypeAlias = Tensor | NDArray[Any]

KINDS = ("auto", "pixels", "pca", "network", "network:NAME", "transformers:NAME", "npy:PATH")
OWN = "npy:"
BLOCK = 1024
COMPONENTS = 64
RULE = 2
"""How features are computed; raised with every change that makes others of the same data, so that none of an older rule
are read from a cache. 1, which named no rule, took components by other means."""


def feature_kind(data: Dataset, kind: str | Table) -> str:
    """The kind that `kind` stands for with these data: "pixels", "pca", "network:NAME" or "array".

    "auto" is "pca" where a row has more than 64 numbers, else "pixels": both take seconds and need no training, and
    64 components keep most of what pixels say about neighbourhood at a tenth of the cost. Published herding and
    k-center use features of a trained network; ask for those with "network". Raises `UnknownNameError`.
    """
    if not isinstance(kind, str) or kind.startswith(OWN):
        return "array"
    if kind == "auto":
        return "pca" if int(np.prod(data.spec.shape)) > COMPONENTS else "pixels"
    if kind == "network":
        return f"network:{narrow_network(data.spec.shape)}"
    if kind in ("pixels", "pca") or kind.removeprefix(PREFIX) not in (kind, ""):
        return kind
    if (name := kind.removeprefix("network:")) not in (kind, ""):
        # Built once for its errors: a wrong name is told here, also where the method needs no features.
        network(name, data.spec.shape, data.spec.classes, 0)
        return kind
    raise unknown_name("kind of features", kind, list(KINDS))


def features(
    data: Dataset, kind: str | Table = "auto", seed: int = 0, device: str = "cpu", engine: Engine | None = None
) -> Float[Tensor, "n d"]:
    """Features of every training row, in the order of `data.train`: float32 on the CPU.

    - "pixels": network inputs (normalised, whitened where the data are), flattened: d = c h w.
    - "pca": their first 64 principal components at most, fitted on the training split. Not whitened.
    - "network", "network:NAME": input of the last layer of a network trained for this for 5 epochs on the training
      split, on `device`: convnet3-w32 for images, mlp for tables, or the network of that name.
    - "transformers:NAME": of a pretrained vision backbone, by its name on the hub or its folder, see `pretrained`.
    - an array or tensor `[n, d]` of your own, or "npy:PATH" of one in a .npy file: a row for each training row.

    An `engine` embeds with the trained network where that lies on the processor; the training stays here.
    Raises `UnknownNameError`, `MismatchError` for an array of another length, `DataError` for one that is not a table
    of finite numbers or has the same numbers in all rows, `MemoryEstimateError`.
    """
    if isinstance(kind, str) and kind.startswith(OWN):
        kind = np.array(open_npy(Path(kind.removeprefix(OWN)).expanduser()))
    if not isinstance(kind, str):
        return _own(kind, len(data.train))
    kind = feature_kind(data, kind)
    if kind.startswith(PREFIX):
        return pretrained_features(data, kind.removeprefix(PREFIX), device)
    if kind == "pixels":
        return _pixels(data)
    if kind == "pca":
        return _components(data, derive_seed(seed, "features", "pca") % 2**32)
    return _embeddings(data, kind.removeprefix("network:"), derive_seed(seed, "features", "network"), device, engine)


def _own(table: Table, n: int) -> Float[Tensor, "n d"]:
    shape = list(table.shape)
    if len(shape) != 2 or 0 in shape:
        raise DataError(
            "selecting by your own features",
            received=f"an array of shape {shape}",
            expected=f"a table [n, d] with n = {n} training rows and d of at least 1",
            remedy="flatten each row to one vector: features.reshape(len(features), -1)",
        )
    if shape[0] != n:
        raise MismatchError(
            "selecting by your own features",
            received=f"an array of shape {shape}",
            expected=f"one row for each of the {n} training rows, in the order of data.train",
            remedy="compute features for data.train only (validation and test rows are apart)",
        )
    own = torch.as_tensor(table).detach().cpu().float()
    bad = ~torch.isfinite(own).all(1)
    if bad.any():
        raise DataError(
            "selecting by your own features",
            received=f"an array of shape {shape} with NaN or infinity in {int(bad.sum())} rows, "
            f"first in row {int(bad.nonzero()[0])}",
            expected="finite numbers",
            remedy="repair those features, or drop the rows from the data",
        )
    if n > 1 and bool((own == own[0]).all()):
        raise DataError(
            "selecting by your own features",
            received=f"an array of shape {shape} whose rows are all the same",
            expected="features that tell rows apart",
            remedy="check how the features were computed, or use method='random', which needs none",
        )
    return own


def _blocks(data: Dataset) -> Iterator[Float[Tensor, "b d"]]:
    """Network inputs of the training rows, flattened."""
    for start in range(0, len(data.train), BLOCK):
        yield data.inputs(data.train, slice(start, start + BLOCK)).flatten(1)


def _pixels(data: Dataset) -> Float[Tensor, "n d"]:
    n, width = len(data.train), int(np.prod(data.spec.shape))
    require_memory(
        f"computing features of {n} rows with {width} numbers each",
        needed=4 * n * width,
        remedy="select from fewer rows (data.with_train), or give your own smaller features",
    )
    table = torch.empty(n, width)
    for number, part in enumerate(_blocks(data)):
        table[number * BLOCK : number * BLOCK + len(part)] = part
    return table


def _components(data: Dataset, seed: int) -> Float[Tensor, "n d"]:
    n, width = len(data.train), int(np.prod(data.spec.shape))

    # A pass over whitened rows costs their width squared each time: for these three passes are cheaper than nine.
    whitened = isinstance(data.spec.transform, Zca)
    return components(lambda: _blocks(data), n, width, min(COMPONENTS, n, width), seed, exact=whitened)


def _embeddings(data: Dataset, name: str, seed: int, device: str, engine: Engine | None) -> Float[Tensor, "n d"]:
    from decoct.training.expert import short_training, train_expert
    from decoct.training.fast_embed import FastEmbed

    passes = short_training(len(data.train))
    with progress(f"training {name} for its features", total=float(passes)) as tick:
        expert = train_expert(data, name, passes, seed, device, tick=tick)
    module = expert.module.eval()
    if engine is not None and device == "cpu":
        arguments = {"module": module, "transform": data.spec.transform, "planned_rows": len(data.train)}
        return torch.from_numpy(engine.over(embedder, arguments, data.train.x, BLOCK))
    embed = FastEmbed(module, planned_rows=len(data.train))
    starts = range(0, len(data.train), BLOCK)
    return torch.cat([embed(data.inputs(data.train, slice(s, s + BLOCK), device)).float().cpu() for s in starts])


def embedder(module: nn.Module, transform: Transform, planned_rows: int) -> Callable[[Rows], Rows]:
    """What turns raw rows into the features of a network, in a worker of an engine."""
    from decoct.training.fast_embed import FastEmbed

    embed = FastEmbed(module, planned_rows=planned_rows)

    def over(raw: Rows) -> Rows:
        return embed(transform(torch.from_numpy(np.array(raw)))).numpy()

    return over

"""Biased sets from any labelled images: an attribute goes with the class in training, and with nothing in the test."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import decoct
from decoct.data.archives import DAMAGED
from decoct.data.dataset import Dataset, Split
from decoct.data.summary import write_grid
from decoct.errors import ConfigError, DataError, MismatchError, SourceError
from decoct.files import make_folder, write_atomically, write_json
from decoct.streams import Streams
from decoct.trust.bias.attributes import assign, mutual_information, require_correlation, unbiased_rate
from decoct.trust.bias.coloured import COLOURS, SPREAD, coloured, severity_of
from decoct.trust.bias.corrupted import CORRUPTIONS, corrupted
from decoct.trust.bias.groups import Groups

Kind = Literal["coloured", "corrupted"]
Paint = Callable[[NDArray[np.uint8], NDArray[np.int64], int, int, torch.Generator], NDArray[np.uint8]]
PAINTS: dict[str, tuple[Paint, int]] = {"coloured": (coloured, COLOURS), "corrupted": (corrupted, len(CORRUPTIONS))}
"""How a kind changes pictures, and how many attributes it has at most."""


@dataclass(frozen=True)
class Bias:
    """What a biased set is made with."""

    kind: Kind = "coloured"
    """coloured: each class has its colour; corrupted: each class has its kind of damage."""
    correlation: float = 0.95
    """Share of the training rows of a class that carry its attribute, from 0 to 1."""
    severity: int = 4
    """How strong the cue is, from 1 to 4."""
    seed: int = 0
    """Everything random follows from this number."""
    rows: int | None = None
    """At most so many training rows, one a class or more (of validation a tenth as many, but one a class), classes in
    equal shares; none takes all."""

    def __post_init__(self) -> None:
        require_correlation(self.correlation)
        severity_of(self.severity, len(SPREAD))
        if self.kind not in PAINTS or (self.rows is not None and self.rows < 1):
            raise ConfigError(
                "making a biased set", received=f"kind={self.kind!r}, rows={self.rows}",
                expected="a kind out of " + ", ".join(PAINTS) + ", and 1 row or more",
                remedy="choose one of these kinds",
            )  # fmt: skip


@dataclass(frozen=True, eq=False)
class BiasedSource:
    """A biased data set, read back: `data` has an unbiased test split, `anti` is the test of conflicting rows."""

    data: Dataset
    groups: Groups
    anti: Split
    facts: dict[str, Any]


def make_biased(data: Dataset, bias: Bias, out: str | Path) -> BiasedSource:
    """Give the images of `data` an attribute that goes with their class, and write the result into the folder `out`.

    Training and validation rows carry the attribute of their class at `bias.correlation`. The test split is truly
    unbiased: each of the A attributes is as frequent as any other in every class, which is the correlation 1 / A. The
    anti-biased test, of the same test images, has none of the attribute of its class (correlation 0): it rewards
    networks that learned "not this colour", and its attribute still tells 0.15 bits about the class for A = 10. The
    published code calls the latter unbiased. A is the number of classes, 10 at most; class c has attribute c mod A.

    Files: `biased.npz` (all three splits; open it as `npz:OUT/biased.npz`), `anti-biased.npz` (x, y), `groups.parquet`
    (id, attribute, aligned; of both tests too), `preview.png`, and last `bias.json`. The same call gives the same
    bytes of pixels. Raises `ConfigError` for fewer rows than classes, `DataError` for rows that are no images,
    `MismatchError` where `out` holds a set made otherwise, and `OutputError`.
    """
    if not data.spec.is_image:
        raise DataError(
            f"making a biased set of {data.spec.source}", received=f"features of shape {list(data.spec.shape)}",
            expected="images, gray or in colour", remedy="open a source of images",
        )  # fmt: skip
    if bias.rows is not None and bias.rows < data.spec.classes:
        raise ConfigError(
            f"making a biased set of {data.spec.source}", received=f"rows={bias.rows}",
            expected=f"at least {data.spec.classes}, one row for each class", remedy="ask for more rows, or for all",
        )  # fmt: skip
    folder = Path(out)
    facts = {"source": data.spec.source, "fingerprint": data.spec.fingerprint, **asdict(bias)}
    _require_own(folder, facts)
    streams, attributes = Streams(bias.seed), min(data.spec.classes, PAINTS[bias.kind][1])
    rates = {
        "train": bias.correlation, "val": bias.correlation, "test": unbiased_rate(attributes), "anti-biased": 0.0,
    }  # fmt: skip
    parts, groups = {}, []
    for part, rate in rates.items():
        split = _subset(data, part, bias, streams(f"rows of {part}"))
        values = assign(split.y, attributes, rate, streams(f"attributes of {part}"))
        raw = np.asarray(split.x, np.uint8)
        pictures = PAINTS[bias.kind][0](raw, values, attributes, bias.severity, streams(f"pictures of {part}"))
        parts[part] = (pictures, split.y)
        groups.append((part, values, values == split.y % attributes))
    make_folder(folder)
    names = attribute_names(bias.kind, attributes)
    _write_npz(folder / "biased.npz", data.spec.class_names, {p: parts[p] for p in ("train", "val", "test")})
    x, y = parts["anti-biased"]
    _savez(folder / "anti-biased.npz", {"x": x, "y": y, "class_names": np.array(data.spec.class_names)})
    _table(groups, names).save(folder / "groups.parquet")
    facts["attributes"] = names
    facts["splits"] = {
        part: {"rows": len(values), "aligned": float(aligned.mean()),
               "bits": mutual_information(parts[part][1], values)}
        for part, values, aligned in groups
    }  # fmt: skip
    write_grid(decoct.open(f"npz:{folder / 'biased.npz'}"), folder / "preview.png")
    write_json(folder / "bias.json", facts)
    return load_biased(folder)


def load_biased(folder: str | Path) -> BiasedSource:
    """Read what `make_biased` wrote; raises `SourceError` where the folder is no whole biased set."""
    folder = Path(folder)
    try:
        facts = json.loads((folder / "bias.json").read_text(encoding="utf-8"))
        # Opened here, since numpy does not close what it cannot read.
        with (folder / "anti-biased.npz").open("rb") as file, np.load(file, allow_pickle=False) as archive:
            x, y = archive["x"], archive["y"]
    except DAMAGED as error:
        raise SourceError(
            f"opening the biased set {folder}",
            received=f"a folder without a whole bias.json and anti-biased.npz ({error})",
            expected="a folder that decoct bias make wrote", remedy="make it again: decoct bias make SOURCE --out DIR",
        ) from error  # fmt: skip
    anti = Split(x, y, _ids("anti-biased", len(y)))
    return BiasedSource(
        decoct.open(f"npz:{folder / 'biased.npz'}"), Groups.load(folder / "groups.parquet"), anti, facts
    )


def attribute_names(kind: Kind, count: int) -> list[str]:
    """What the attributes are called: colours by their place on the circle of hues, damages by name."""
    if kind == "corrupted":
        return list(CORRUPTIONS)[:count]
    return [f"hue {round(360 * place / count):03d}" for place in range(count)]


def _require_own(folder: Path, facts: dict[str, Any]) -> None:
    path = folder / "bias.json"
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        # The same pictures may be called by another path: the fingerprint says what they are.
        different = sorted(key for key, value in facts.items() if key != "source" and found.get(key) != value)
    except (ValueError, AttributeError):
        different = ["a bias.json that cannot be read"]
    if different:
        raise MismatchError(
            f"making a biased set in {folder}",
            received="a folder with another biased set: " + ", ".join(different),
            expected="an empty folder, or the set of exactly this command",
            remedy="choose another folder for --out, or remove this one",
        )


def _subset(data: Dataset, part: str, bias: Bias, generator: torch.Generator) -> Split:
    split: Split = {"train": data.train, "val": data.val}.get(part, data.test)
    limit = {"train": bias.rows, "val": None if bias.rows is None else max(1, bias.rows // 10)}.get(part)
    if limit is None or limit >= len(split):
        return split
    share = max(1, limit // data.spec.classes)
    members = [torch.from_numpy(rows) for rows in split.class_rows(data.spec.classes)]
    picked = [rows[torch.randperm(len(rows), generator=generator)[:share]] for rows in members]
    return split.take(torch.cat(picked).sort().values)


def _table(groups: list[tuple[str, NDArray[np.int64], NDArray[np.bool_]]], names: list[str]) -> Groups:
    ids = np.concatenate([_ids(part, len(values)) for part, values, _ in groups])
    attributes = np.concatenate([np.array(names)[values] for _, values, _ in groups])
    return Groups(ids, attributes, np.concatenate([aligned for _, _, aligned in groups]))


def _ids(part: str, count: int) -> NDArray[np.generic]:
    """The ids that `decoct.open` gives to the rows of an archive."""
    return np.array([f"{part}/{row}" for row in range(count)])


def _write_npz(path: Path, class_names: tuple[str, ...], parts: dict[str, tuple[Any, Any]]) -> None:
    arrays = {f"{letter}_{part}": pair[place] for part, pair in parts.items() for place, letter in enumerate("xy")}
    _savez(path, {**arrays, "class_names": np.array(class_names)})


def _savez(path: Path, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, lambda file: Path(file).write_bytes(buffer.getvalue()))

"""`open`: from any source to a `Dataset` with three disjoint splits, a fitted transform and a fingerprint."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from numpy.typing import NDArray

from decoct.data.cache import Cache
from decoct.data.checks import require_classes, require_lengths
from decoct.data.dataset import Dataset, DataSpec, Split
from decoct.data.detection.kinds import is_detection
from decoct.data.fingerprint import fingerprint
from decoct.data.found import Found, Wish, parse_mode, parse_size
from decoct.data.normalise import fit_standardise, fit_zca
from decoct.data.sources.asked import TABLES
from decoct.data.sources.folders import images_below
from decoct.data.splits import cut, require_fractions
from decoct.data.sweep import sweep
from decoct.errors import ConfigError, SourceError
from decoct.registry import Registry

SOURCES = Registry(
    "source",
    {
        "digits": "decoct.data.sources.digits:find",
        "npz": "decoct.data.sources.npz:find",
        "imagefolder": "decoct.data.sources.imagefolder:find",
        "parquet": "decoct.data.sources.tables:find",
        "csv": "decoct.data.sources.tables:find_csv",
        "hub": "decoct.data.sources.huggingface:find_hub",
    },
)
"""Prefix of a source -> `find(place, wish) -> Found`."""
_FORMS = (
    "'digits', 'npz:PATH', 'imagefolder:PATH', 'parquet:PATH', 'csv:PATH', 'hub:NAME', a path, a data set, or arrays "
    "(x, y)"
)


def open(
    source: Any,
    *,
    size: SupportsIndex | Sequence[SupportsIndex] | None = None,
    mode: str | None = None,
    whiten: bool = False,
    val_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
    skip_bad: bool = False,
    cache: str | os.PathLike[str] | None = None,
    memory_share: float = 0.25,
) -> Dataset:
    """Open real data.

    `source` is "digits", "npz:PATH", "imagefolder:PATH", "parquet:PATH", "csv:PATH", "hub:NAME" or
    "hub:NAME:CONFIG", a bare path (guessed), a torch data set of `(x, y)` or a pair of them (train, test), a Hugging
    Face data set, or arrays `(x, y)` / `(x, y, x_test, y_test)`, or by name as in npz archives:
    `{"x": x, "y": y, "id": ids}`. Rows are called by the source's own ids (file names, a column or array `uid`, `id`
    or `key`, or "parquet:PATH?id=NAME"), and by their part and number, "train/7", where there are none.

    `size` (height and width in pixels, one number for a square) and `mode` ("gray", "rgb") bring images to one form;
    without them a source whose images agree is taken as it is, and otherwise a square of 32 or 64 is chosen and
    noted in `spec.notices`. Splits that the source lacks are cut from its training rows, stratified, by
    `val_fraction`, `test_fraction` and `seed`. `whiten` adds ZCA whitening. `skip_bad` goes on without images that
    cannot be read. Decoded images are kept in the folder `cache` (else `DECOCT_CACHE`, else `~/.cache/decoct`), go
    when nobody used them for 30 days, and are memory-mapped where they take more than `memory_share` of the memory of
    this machine, or of its container.

    Raises `SourceError` for a source that is missing, empty or unreadable, `DataError` for labels or values that
    cannot be used, `ConfigError` for options, `UnknownNameError` for an unknown kind of source, `MissingExtraError`
    where Hugging Face `datasets` is needed and missing, `OutputError` where the cache cannot be written.
    """
    require_fractions(val_fraction, test_fraction)
    if not 0 < memory_share <= 1:
        raise ConfigError(
            "opening data", received=f"memory_share={memory_share!r}", expected="a number above 0 and at most 1",
            remedy="leave it at 0.25",
        )  # fmt: skip
    wish = Wish(Cache.at(cache, memory_share), parse_size(size), parse_mode(mode), skip_bad)
    name, found = _find(source, wish)
    fractions = {"val": val_fraction, "test": test_fraction}
    data = _assemble(name, found, wish, whiten=whiten, fractions=fractions, seed=seed)
    # After the files of this source were marked as used.
    sweep(wish.cache.folder)
    return data


def with_groups(source: str, column: str) -> str:
    """`source` asked not to take the column that says the groups for a feature, where it is a table. Raises as `open`.

    A person's number among the features would tell whose row it is, which is what splits by person keep apart.
    """
    kind, place = _kind_and_place(source)
    if kind not in TABLES or "group=" in place.rpartition("?")[2]:
        return source
    return f"{kind}:{place}{'&' if '?' in place else '?'}group={column}"


def _find(source: Any, wish: Wish) -> tuple[str, Found]:
    """The name of the source for a person, and its rows."""
    if isinstance(source, (str, os.PathLike)):
        kind, place = _kind_and_place(os.fspath(source))
        return f"{kind}:{place}" if place else kind, SOURCES.load(kind)(place, wish)
    if type(source).__module__.partition(".")[0] == "datasets":
        from decoct.data.sources.huggingface import find_object

        return "hf", find_object(source, wish)
    if isinstance(source, torch.utils.data.Dataset):
        from decoct.data.sources.torchset import find_torch

        return f"torch:{type(source).__name__}", find_torch(source, wish)
    if isinstance(source, Mapping):
        from decoct.data.sources.named import find_named

        return "arrays", find_named(source, wish)
    if isinstance(source, (tuple, list)):
        if len(source) == 2 and all(isinstance(item, torch.utils.data.Dataset) for item in source):
            from decoct.data.sources.torchset import find_torch_pair

            return f"torch:{type(source[0]).__name__}", find_torch_pair(source[0], source[1], wish)
        from decoct.data.sources.arrays import find_arrays

        return "arrays", find_arrays(source, wish)
    raise SourceError(
        "opening data",
        received=f"a {type(source).__name__}",
        expected=_FORMS,
        remedy="give rows and labels as a pair: decoct.open((x, y))",
    )


def _kind_and_place(text: str) -> tuple[str, str]:
    """Split "kind:place"; a bare path is looked at. Raises `SourceError` and `UnknownNameError`."""
    kind, colon, place = text.partition(":")
    if kind in SOURCES:
        return kind, place
    path = Path(text).expanduser()
    if (path / "bias.json").is_file() and (path / "biased.npz").is_file():
        return "npz", str(path / "biased.npz")  # what `decoct bias make` wrote, beside its pictures and its other test
    if path.exists():
        return _guess(path), text
    if colon and is_detection(text):
        raise SourceError(
            f"opening {text!r}",
            received="images with boxes, which have no single label",
            expected="a source of rows with one label each: " + _FORMS,
            remedy="use decoct select, or decoct.data.detection.open.open_detection in Python",
        )
    if colon and re.fullmatch(r"[A-Za-z][\w-]+", kind):
        # Looking the prefix up raises the error that names the nearest ones.
        return SOURCES[kind], place
    near = get_close_matches(text, list(SOURCES), n=1)
    raise SourceError(
        f"opening {text!r}",
        received="no such file or folder",
        expected=_FORMS,
        remedy=f"did you mean {near[0]!r}?" if near else "check the path; relative paths start at the current folder",
    )


def _guess(path: Path) -> str:
    if path.is_file():
        kind = {".npz": "npz", ".parquet": "parquet", ".csv": "csv"}.get(path.suffix.lower())
        if kind is None:
            raise SourceError(
                f"opening {str(path)!r}",
                received=f"a file that ends in {path.suffix!r}",
                expected="a folder of class folders of images, an .npz, a .parquet or a .csv file",
                remedy="unpack archives first; load other tables yourself and give arrays (x, y)",
            )
        return kind
    if any((path / marker).is_file() for marker in ("dataset_dict.json", "state.json")):
        return "hub"
    if next(images_below(path), None) is None and next(path.rglob("*.parquet"), None) is not None:
        return "parquet"
    return "imagefolder"


def _assemble(name: str, found: Found, wish: Wish, *, whiten: bool, fractions: dict[str, float], seed: int) -> Dataset:
    called = f"opening {name}"
    for part, rows in found.parts.items():
        require_lengths(called, part, rows.x, rows.y)
    missing = {part: fraction for part, fraction in fractions.items() if part not in found.parts}
    labels = {part: rows.y for part, rows in found.parts.items()}
    names = require_classes(called, labels, found.class_names, found.base, cut=bool(missing))
    splits, notices = _split(found, wish, len(names), missing, seed)
    train = splits["train"]
    shape = tuple(int(side) for side in train.x.shape[1:])
    transform = fit_zca(train.x) if whiten else fit_standardise(train.x)
    mark = fingerprint(splits, shape, names)
    spec = DataSpec(name, shape, names, transform, mark, notices=(*found.notices, *notices))
    return Dataset(spec, splits["train"], splits["val"], splits["test"])


def _split(
    found: Found, wish: Wish, classes: int, missing: dict[str, float], seed: int
) -> tuple[dict[str, Split], list[str]]:
    """The three splits in order, after cutting the `missing` ones from what is trained on."""
    base = found.parts[found.base]
    splits = {**found.parts, "train": base}
    notices = []
    if missing:
        rows = cut(base.y, classes, missing, seed)
        for part, own in rows.items():
            splits[part] = Split(wish.cache.take(base.x, own), base.y[own], base.ids[own])
        shares = " and ".join(f"{part} ({len(rows[part])} rows)" for part in missing)
        notices.append(
            f"the source has no {' and no '.join(missing)} rows: {shares} cut from its {len(base)}, seed {seed}"
        )
    whole = {part: splits[part] for part in ("train", "val", "test")}
    return {part: Split(_in_one_piece(s.x, wish), s.y, s.ids) for part, s in whole.items()}, notices


def _in_one_piece(x: NDArray[np.generic], wish: Wish) -> NDArray[np.generic]:
    """`x` itself where it lies row after row; NumPy's own function would forget that it is memory-mapped."""
    return x if x.flags.c_contiguous else wish.cache.take(x, np.arange(len(x)))

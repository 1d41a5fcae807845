"""Splits by group: all rows of a person, a video, a source or a generator stand on one side, so that nothing leaks."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from decoct.data.dataset import Dataset, Split
from decoct.data.fingerprint import fingerprint
from decoct.data.normalise import fit_standardise, fit_zca
from decoct.data.splits import require_fractions
from decoct.data.transform import Zca
from decoct.errors import ConfigError, DataError
from decoct.machine import require_memory
from decoct.streams import Streams

PARTS = ("train", "val", "test")


def groups_by_pattern(ids: Sequence[str], pattern: str) -> dict[str, str]:
    """The group of each id: the first group of the regular expression, or all that it matches where it has none.

    `r"(person\\d+)_"` finds "person7" in "fake/person7_frame3.png". Raises `ConfigError` for an expression that is
    none, `DataError` for ids without a match.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            "grouping rows by their ids", received=f"the pattern {pattern!r} ({error})",
            expected="a regular expression", remedy=r"write one such as '(person\d+)_'",
        ) from error  # fmt: skip
    found = {str(name): compiled.search(str(name)) for name in ids}
    missing = [name for name, match in found.items() if match is None]
    if missing:
        raise DataError(
            "grouping rows by their ids",
            received=f"{len(missing)} of {len(found)} ids in which {pattern!r} finds nothing, such as {missing[0]!r}",
            expected="a group in every id",
            remedy="widen the pattern (columns are read of parquet:, csv: and hub: data only), or give the groups "
            "yourself: split_by_group(data, {id: group})",
        )
    return {name: match[1] if compiled.groups else match[0] for name, match in found.items() if match}


def groups_from(data: Dataset, by: str) -> dict[str, str]:
    """The group of every id of `data`: a column's value, or a part of the id.

    `by` names a column of "parquet:PATH", "csv:PATH" and "hub:NAME"; for other sources it is a regular expression, see
    `groups_by_pattern`. Raises `SourceError`, `ConfigError`, `DataError`, `MissingExtraError`.
    """
    kind, _, place = data.spec.source.partition(":")
    if kind == "hub":
        from decoct.data.sources.huggingface import column_of_hub

        return column_of_hub(place, by)
    if kind in ("parquet", "csv"):
        from decoct.data.sources.tables import column_of

        return column_of(place, by, "csv" if kind == "csv" else "parquet")
    return groups_by_pattern([name for part in PARTS for name in getattr(data, part).ids.tolist()], by)


def split_by_group(
    data: Dataset,
    groups: Mapping[str, str],
    *,
    held_out: Collection[str] = (),
    val_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """All rows of `data`, of whatever split, cut anew so that no group has rows in two splits.

    `groups` says the group of every id. Groups in `held_out` become the whole test split: generators, sources or
    people that nothing was trained on or chosen by. Otherwise groups go, in an order drawn from `seed`, the large
    ones first, to the split that lacks most rows of their classes. The transform is fitted on the new training rows,
    and the fingerprint is that of the new splits. Cost: one copy of the rows.

    Raises `DataError` for ids without a group, for fewer groups than splits to fill, and where a class has no
    training row; `ConfigError` for fractions and for held-out groups that no row has; `MemoryEstimateError`.
    """
    require_fractions(val_fraction, test_fraction)
    rows = _joined(data)
    own = _groups_of(rows, groups)
    unknown = sorted(set(held_out) - set(own.tolist()))
    if unknown:
        raise ConfigError(
            "splitting by groups", received=f"held_out={unknown}", expected=f"groups of the rows: {_some(own)}",
            remedy="name groups that there are",
        )  # fmt: skip
    shares = {"val": val_fraction} if held_out else {"val": val_fraction, "test": test_fraction}
    place = _places(own, rows.y, data.spec.classes, shares, frozenset(held_out), seed)
    members = {part: np.flatnonzero(place == number) for number, part in enumerate(PARTS)}
    splits = {part: rows.take(members[part]) for part in PARTS}
    _require_classes(splits["train"], rows, data)
    whitened = isinstance(data.spec.transform, Zca)
    transform = fit_zca(splits["train"].x) if whitened else fit_standardise(splits["train"].x)
    mark = fingerprint(splits, data.spec.shape, data.spec.class_names)
    told = ", ".join(f"{part} {len(set(own[members[part]].tolist()))} groups" for part in PARTS)
    notice = f"cut by groups, no group in two splits: {told}, seed {seed}"
    spec = replace(data.spec, transform=transform, fingerprint=mark, notices=(*data.spec.notices, notice))
    return Dataset(spec, splits["train"], splits["val"], splits["test"])


def _joined(data: Dataset) -> Split:
    """The rows of all splits in one."""
    parts = [getattr(data, part) for part in PARTS]
    require_memory(
        "splitting by groups",
        needed=2 * sum(len(part) for part in parts) * data.spec.row_bytes,
        remedy="open the source with a smaller size, or cut it into folders train, val and test yourself",
    )
    weights = None
    if data.train.weights is not None:
        weights = np.concatenate([np.ones(len(p)) if p.weights is None else p.weights for p in parts])
    x, y, ids = (np.concatenate([getattr(part, field) for part in parts]) for field in ("x", "y", "ids"))
    return Split(x, y, ids, weights)


def _groups_of(rows: Split, groups: Mapping[str, str]) -> NDArray[Any]:
    missing = [name for name in rows.ids.tolist() if name not in groups]
    if missing:
        raise DataError(
            "splitting by groups",
            received=f"{len(missing)} of {len(rows)} rows without a group, such as {missing[0]!r}",
            expected="a group for the id of every row",
            remedy="give every row a group; rows that belong together with nothing get one of their own",
        )
    return np.array([str(groups[name]) for name in rows.ids.tolist()], np.str_)


def _places(
    own: NDArray[Any], labels: NDArray[np.int64], classes: int, shares: Mapping[str, float],
    held_out: frozenset[str], seed: int,
) -> NDArray[np.int64]:  # fmt: skip
    """The number in `PARTS` of the split of every row."""
    names, member = np.unique(own, return_inverse=True)
    counts = np.zeros((len(names), classes))
    np.add.at(counts, (member, labels), 1)
    open_ = np.array([name not in held_out for name in names.tolist()])
    wanted = 1 + len(shares)
    if int(open_.sum()) < wanted:
        raise DataError(
            "splitting by groups", received=f"{int(open_.sum())} groups: {_some(own)}",
            expected=f"at least {wanted}, one for each of train and {' and '.join(shares)}",
            remedy="use a finer grouping, or fewer held-out groups",
        )  # fmt: skip
    part = np.full(len(names), PARTS.index("test"))
    order = torch.randperm(len(names), generator=Streams(seed)("groups")).numpy()
    order = order[open_[order]]
    order = order[np.argsort(-counts[order].sum(1), kind="stable")]
    total = counts[open_].sum(0)
    lacks = {name: share * total for name, share in {"train": 1 - sum(shares.values()), **shares}.items()}
    empty = list(lacks)
    for turn, group in enumerate(order.tolist()):
        # The last groups go where there is nothing yet: a split is never left empty.
        candidates = empty if len(order) - turn <= len(empty) else list(lacks)
        best = max(candidates, key=lambda name: float((counts[group] * lacks[name]).sum()))
        lacks[best] = lacks[best] - counts[group]
        part[group] = PARTS.index(best)
        empty = [name for name in empty if name != best]
    return part[member]


def _require_classes(train: Split, rows: Split, data: Dataset) -> None:
    lost = sorted(set(rows.y.tolist()) - set(train.y.tolist()))
    if lost:
        named = ", ".join(data.spec.class_names[label] for label in lost[:5])
        raise DataError(
            "splitting by groups", received=f"no training row of the class {named}",
            expected="rows of every class in groups that are trained on",
            remedy="hold out fewer groups, or groups that do not hold a whole class",
        )  # fmt: skip


def _some(own: NDArray[Any]) -> str:
    names = sorted(set(own.tolist()))
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

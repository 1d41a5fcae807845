"""Score tables of any tool: parquet and csv files, and data frames, taken apart into ids and columns of numbers."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from decoct.data.found import ID_NAMES
from decoct.errors import DataError, SourceError

ID_COLUMNS = (*ID_NAMES, "ids", "index", "example_id", "sample_id")
"""Names under which tools keep what a row is called."""
INDEX_COLUMNS = ("__index_level_0__", "", "Unnamed: 0")
"""Names under which the index of a data frame without a name lands in parquet and in csv; never a score."""
FACTS = b"decoct"
"""Under which name a parquet file says how its scores were made."""
_WORDS = {"": math.nan, "true": 1.0, "false": 0.0}


@runtime_checkable
class Frame(Protocol):
    """A data frame as pandas and polars have it; where it has an `index`, that says what rows are called."""

    columns: Any

    def __getitem__(self, name: Any, /) -> Any: ...

    def to_dict(self, *args: Any, **kwargs: Any) -> Any: ...


@dataclass(frozen=True, eq=False)
class Columns:
    """A table as it was found: a list of values for each name, and the `index` of rows where it stands outside."""

    values: dict[str, list[Any]]
    index: Sequence[Any] | None = None
    index_name: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    """What a file of decoct says of how its scores were made."""

    def ids(self) -> tuple[str, ...]:
        """What rows are called: a column of ids, else the index, else row numbers."""
        named = next((name for name in ID_COLUMNS if name in self.values), None)
        named = named or (self.index_name if self.index_name in self.values else None)
        if named is None and self.index is None:
            named = next((name for name in INDEX_COLUMNS if name in self.values), None)
        if named is not None:
            return tuple(map(str, self.values[named]))
        count = len(next(iter(self.values.values()), []))
        return tuple(map(str, range(count) if self.index is None else self.index))

    def numbers(self) -> dict[str, Float[Tensor, " n"]]:
        """The columns of numbers, in double precision, NaN where a value is missing; ids are left out."""
        ids = {next((name for name in ID_COLUMNS if name in self.values), None), self.index_name, *INDEX_COLUMNS}
        found = {name: _numbers(column) for name, column in self.values.items() if name not in ids}
        return {name: column for name, column in found.items() if column is not None}


def columns_of(source: Any) -> Columns:
    """The columns of a parquet or csv file, or of a data frame. Raises `SourceError` and `DataError`."""
    if not isinstance(source, (str, Path)):
        return _of_frame(source)
    place = Path(source)
    try:
        return _of_csv(place) if place.suffix.lower() == ".csv" else _of_parquet(place)
    except (OSError, ValueError, KeyError, csv.Error, pa.ArrowException) as error:
        raise SourceError(
            f"reading scores from {place}", received=f"a file that cannot be read ({error})",
            expected="a parquet or csv file with a column of ids and columns of numbers",
            remedy="check the path; `decoct score` writes scores.parquet",
        ) from error  # fmt: skip


def _of_csv(place: Path) -> Columns:
    with place.open(newline="", encoding="utf-8-sig") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    rows = [row for row in rows if row]
    ragged = next((number for number, row in enumerate(rows) if len(row) != len(head)), None)
    if ragged is not None:
        raise ValueError(f"row {ragged} has {len(rows[ragged])} values, the head names {len(head)} columns")
    return Columns({name: [row[number] for row in rows] for number, name in enumerate(head)})


def _of_parquet(place: Path) -> Columns:
    table = pq.read_table(place)
    values = {name: column.to_pylist() for name, column in zip(table.column_names, table.columns, strict=True)}
    # What pandas keeps of an index that is no column of its own, such as that of a frame turned upside down.
    metadata = table.schema.metadata or {}
    about, facts = json.loads(metadata.get(b"pandas", b"{}")), facts_in(metadata)
    [index] = about.get("index_columns", []) if len(about.get("index_columns", [])) == 1 else [None]
    if isinstance(index, dict):
        steps = range(index["start"], index["stop"], index["step"])
        return Columns(values, steps if len(steps) == table.num_rows else None, facts=facts)
    return Columns(values, None, index, facts)


def facts_in(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """What `ScoreTable.save` wrote into a parquet file of how its scores were made; nothing in files of other tools."""
    try:
        found = json.loads((metadata or {}).get(FACTS, b"{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _of_frame(frame: Any) -> Columns:
    if not isinstance(frame, Frame):
        raise SourceError(
            "reading scores", received=f"a {type(frame).__name__}",
            expected="the path of a parquet or csv file, or a data frame",
            remedy="write a table of ids and scores, or make a data frame of it",
        )  # fmt: skip
    names = list(frame.columns)
    if len(set(map(str, names))) < len(names):
        raise DataError(
            "reading scores from a data frame", received=f"columns {', '.join(map(str, names))}",
            expected="a name of its own for every column", remedy="rename or drop the repeated columns",
        )  # fmt: skip
    index = getattr(frame, "index", None)
    return Columns({str(name): list(frame[name]) for name in names}, None if index is None else list(index))


def _numbers(column: list[Any]) -> Float[Tensor, " n"] | None:
    """The values as numbers, truths as 1 and 0, NaN for those that are missing; None where some are none."""
    try:
        return torch.tensor([_number(value) for value in column], dtype=torch.float64)
    except (TypeError, ValueError):
        return None


def _number(value: Any) -> float:
    # pandas marks missing values of its own types by an object that is no number.
    if value is None or type(value).__name__ == "NAType":
        return math.nan
    word = value.strip().lower() if isinstance(value, str) else None
    return _WORDS[word] if word in _WORDS else float(value)

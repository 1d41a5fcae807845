"""Parquet and csv files through Arrow, as `columns.Rows`: a few columns at a time, and no second copy on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from decoct.data.sources.columns import BLOCK_ROWS
from decoct.errors import SourceError

Kind = Literal["parquet", "csv"]
"""What such a file is called, by its ending and before the colon of a source."""

PICTURES_AT_ONCE = 64
STREAM_BYTES = 1 << 20
"""Bytes of a column in a parquet file that are read ahead: a group of rows may be larger than the memory."""
CSV_BLOCK_BYTES = 16 << 20
"""The longest line of a csv file has to fit in it."""
NO_VALUE = (*pyarrow.csv.ConvertOptions().null_values, "None", "<NA>")
"""What a csv file says where a value is missing: the words that pandas knows."""
_FLOATS = {"halffloat": "float16", "float": "float32", "double": "float64"}


@dataclass(frozen=True)
class Feature:
    """What a column holds, in the words of Hugging Face `datasets`, as `columns` knows them."""

    dtype: str = ""
    names: tuple[str, ...] | None = None
    """The classes that its whole numbers count."""
    feature: Feature | None = None
    """What the items of its lists are."""


@dataclass(frozen=True, eq=False)
class _File:
    path: Path
    features: Mapping[str, Feature]
    rows: int
    batches: Callable[[list[str], int], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, eq=False)
class ArrowRows:
    """The rows of one part, file after file."""

    called: str
    files: Sequence[_File]

    @property
    def features(self) -> Mapping[str, Feature]:
        return self.files[0].features

    def __len__(self) -> int:
        return sum(file.rows for file in self.files)

    def values(self, name: str) -> list[Any]:
        return list(chain.from_iterable(column.to_pylist() for [column] in self._batches([name], BLOCK_ROWS)))

    def numbers(self, names: Sequence[str]) -> Iterator[list[NDArray[Any]]]:
        for columns in self._batches(names, BLOCK_ROWS):
            yield [_numbers(column) for column in columns]

    def pictures(self, name: str) -> Iterator[Any]:
        for [column] in self._batches([name], PICTURES_AT_ONCE):
            yield from column.to_pylist()

    def _batches(self, names: Sequence[str], rows: int) -> Iterator[list[pa.Array]]:
        for file in self.files:
            _require_columns(self.called, file, names)
            with _reading(self.called, file.path):
                for batch in filter(len, file.batches(list(names), rows)):
                    yield [batch.column(name) for name in names]


def read_parts(
    called: str, kind: Kind, parts: Mapping[str, Sequence[Path]], *, missing_texts: bool = True
) -> dict[str, ArrowRows]:
    """The rows of the files of each part; with `missing_texts` a text of a csv file such as "NA" is no value.

    Raises `SourceError` for damaged files, and for those of one part that count other classes.
    """
    opened = {part: [_open(called, kind, path, missing_texts) for path in files] for part, files in parts.items()}
    # A csv file without a row does not tell what its columns hold.
    opened = {part: [file for file in files if file.rows] or files for part, files in opened.items()}
    for files in opened.values():
        _require_same_classes(called, files)
    return {part: ArrowRows(called, files) for part, files in opened.items()}


def _open(called: str, kind: Kind, path: Path, missing_texts: bool) -> _File:
    with _reading(called, path):
        return _parquet(path) if kind == "parquet" else _csv(path, missing_texts)


def _parquet(path: Path) -> _File:
    def batches(names: list[str], rows: int) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=STREAM_BYTES) as file:
            yield from file.iter_batches(rows, columns=names)

    with pq.ParquetFile(path) as file:
        schema, count = file.schema_arrow, file.metadata.num_rows
    names = _class_names(schema)
    features = {field.name: _feature(field.type, names.get(field.name)) for field in schema}
    return _File(path, features, count, batches)


def _csv(path: Path, missing_texts: bool) -> _File:
    """The whole file, since one value far below makes texts of a column of numbers."""

    def read(types: Mapping[str, pa.DataType]) -> pa.Table:
        return pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, null_values=list(NO_VALUE), strings_can_be_null=missing_texts
            ),
        )

    table = read({})
    # A date stays the text that it is, and a column without any value is one of numbers that are missing.
    other = {field.name: pa.string() for field in table.schema if pa.types.is_temporal(field.type)}
    other |= {field.name: pa.float64() for field in table.schema if pa.types.is_null(field.type)}
    table = read(other) if other else table
    # Whole numbers of 64 bits, such as hashes, would be rounded.
    hashes = [field.name for field, column in zip(table.schema, table.columns, strict=True) if _is_wide(column)]
    with suppress(pa.ArrowInvalid):
        table = read(other | dict.fromkeys(hashes, pa.uint64())) if hashes else table
    broken = [field.name for field in table.schema if pa.types.is_binary(field.type)]
    if broken:
        raise pa.ArrowInvalid(f"the column {broken[0]!r} holds text that is not UTF-8")
    table = table.rename_columns(_told_apart(table.column_names))
    features = {field.name: _feature(field.type) for field in table.schema}
    return _File(path, features, len(table), lambda names, rows: iter(table.select(names).to_batches(rows)))


def _is_wide(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_floating(column.type):
        return False
    span = pc.call_function("min_max", [column]).as_py()
    return span["min"] is not None and span["min"] >= 0 and 2**63 <= span["max"] < 2**64


def _told_apart(names: Sequence[str]) -> list[str]:
    """Names of columns as pandas gives them: "Unnamed: 0" where there is none, "a.1" for the second "a"."""
    found: list[str] = []
    for number, name in enumerate(names):
        own = name or f"Unnamed: {number}"
        again = (f"{own}.{count}" for count in range(1, len(names) + 1))
        found.append(own if own not in found else next(other for other in again if other not in (*names, *found)))
    return found


def _class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Class names by column, which `datasets` keeps in the metadata of the schema."""
    try:
        said = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = {name: tuple(one["names"]) for name, one in said.items() if one.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    # Whoever wrote the table anew with other labels may have kept what was said of the old ones.
    numbers = {field.name for field in schema if pa.types.is_int64(field.type)}
    return {name: own for name, own in names.items() if name in numbers}


def _feature(kind: pa.DataType, names: tuple[str, ...] | None = None) -> Feature:
    kind = kind.value_type if pa.types.is_dictionary(kind) else _stored(kind)
    if _is_list(kind):
        return Feature(feature=_feature(kind.value_type))
    if pa.types.is_struct(kind):
        # A picture: its bytes, or the path of its file.
        return Feature("binary" if {field.name for field in kind} == {"bytes", "path"} else "struct")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return Feature("string")
    return Feature(_FLOATS.get(str(kind), str(kind)), names)


def _stored(kind: pa.DataType) -> pa.DataType:
    """What arrays of several axes are stored as, which are a type of its own where `datasets` is imported."""
    own = isinstance(kind, pa.BaseExtensionType) and kind.extension_name.startswith("datasets.")
    return kind.storage_type if own else kind


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _numbers(column: pa.Array) -> NDArray[Any]:
    """`[n]`, or `[n, ...]` of lists; missing numbers are NaN. Raises `ValueError` for lists of several lengths."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if not _is_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    lengths = pc.call_function("list_value_length", [column]).unique().to_pylist()
    if column.null_count or len(lengths) > 1:
        said = ", ".join("no list" if length is None else str(length) for length in lengths[:5])
        raise ValueError(f"lists of the lengths {said}")
    items = _numbers(column.flatten())
    return items.reshape(len(column), *lengths, *items.shape[1:])


def _require_columns(called: str, file: _File, names: Sequence[str]) -> None:
    for name in names:
        if name not in file.features:
            raise SourceError(
                called, received=f"{file.path.name} without the column {name!r}",
                expected="a column that all files have",
                remedy="write the files anew with the same columns, or name another column (?label=NAME, ?id=NAME)",
            )  # fmt: skip


def _require_same_classes(called: str, files: Sequence[_File]) -> None:
    for file in files[1:]:
        for name, feature in file.features.items():
            known = files[0].features.get(name, feature).names
            if feature.names is not None and known is not None and feature.names != known:
                raise SourceError(
                    called, received=f"{file.path.name}, whose {name!r} counts other classes than {files[0].path.name}",
                    expected="numbers that mean the same classes in all files of a part",
                    remedy="write the files anew with the same class names in the same order",
                )  # fmt: skip


@contextmanager
def _reading(called: str, path: Path) -> Iterator[None]:
    """Whatever Arrow says of a damaged file, as `SourceError`."""
    try:
        yield
    except (OSError, pa.ArrowException, KeyError, UnicodeDecodeError) as error:
        raise SourceError(
            called, received=f"{path.name}: {(str(error).splitlines() or ['damaged'])[0][:200]}",
            expected="a whole parquet file, or a csv file in UTF-8 with a value for every name of its first line",
            remedy="check how it was written, and that the files are whole",
        ) from error  # fmt: skip

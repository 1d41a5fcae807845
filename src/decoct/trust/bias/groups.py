"""`Groups`: which rows carry which attribute, and whether that is the one of their class."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from decoct.data.dataset import Dataset, Split
from decoct.errors import DataError, MismatchError, SourceError
from decoct.files import write_atomically

LISTED = 3


@dataclass(frozen=True, eq=False)
class Groups:
    """An attribute for each row of a data set, by id; class and attribute together are the row's group.

    `ids` and `attributes` are texts `[n]`. `aligned` `[n]` says whether the attribute is the one that goes with the
    row's class; where it is None, that is the attribute which most training rows of the class carry.
    Raises `DataError` for columns of different lengths, or ids that occur twice.
    """

    ids: NDArray[np.generic]
    attributes: NDArray[np.generic]
    aligned: Bool[NDArray[np.bool_], " n"] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.ids), len(self.attributes), *([] if self.aligned is None else [len(self.aligned)])}
        if len(lengths) > 1 or len(set(self.ids.tolist())) < len(self.ids):
            raise DataError(
                "reading groups",
                received=f"{len(self.ids)} ids ({len(set(self.ids.tolist()))} different), {len(self.attributes)} "
                "attributes",
                expected="one attribute for each id, every id once",
                remedy="write one row for each image: id, attribute and, if it is known, aligned",
            )

    @property
    def names(self) -> list[str]:
        """The attributes there are, in alphabetical order; `of` numbers them by it."""
        return sorted({str(name) for name in self.attributes.tolist()})

    def of(self, split: Split, name: str) -> Int[NDArray[np.int64], " m"]:
        """Numbers of the attributes of the rows of `split`; raises `MismatchError` where rows have none."""
        place = {str(own): row for row, own in enumerate(self.ids.tolist())}
        ids = [str(own) for own in split.ids.tolist()]
        missing = [own for own in ids if own not in place]
        if missing:
            raise MismatchError(
                f"looking up the groups of the {name} rows",
                received=f"a table of {len(self.ids)} rows without {len(missing)} of the {len(ids)} {name} rows, such "
                "as " + ", ".join(map(repr, missing[:LISTED])),
                expected=f"an attribute for every {name} row",
                remedy="give the groups.parquet of these data (decoct bias make writes one), or a method that needs "
                "no groups",
            )
        number = {own: code for code, own in enumerate(self.names)}
        return np.array([number[str(self.attributes[place[own]])] for own in ids], np.int64)

    def aligned_in(self, data: Dataset, split: Split, name: str) -> Bool[NDArray[np.bool_], " m"]:
        """Whether the rows of `split` carry the attribute of their class; raises `MismatchError`."""
        codes = self.of(split, name)
        if self.aligned is not None:
            place = {str(own): row for row, own in enumerate(self.ids.tolist())}
            return self.aligned[[place[str(own)] for own in split.ids.tolist()]]
        table = np.zeros((data.spec.classes, len(self.names)), np.int64)
        np.add.at(table, (data.train.y, self.of(data.train, "training")), 1)
        return codes == table.argmax(1)[split.y]

    def save(self, path: str | Path) -> None:
        """Write parquet with the columns `id`, `attribute` and `aligned`; raises `OutputError`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {"id": pa.array(list(map(str, self.ids.tolist()))), "attribute": pa.array(self.attributes.tolist())}
        if self.aligned is not None:
            columns["aligned"] = pa.array(self.aligned)
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer)
        write_atomically(Path(path), lambda file: Path(file).write_bytes(buffer.getvalue()))

    @classmethod
    def load(cls, path: str | Path) -> Groups:
        """Read a parquet file with `id`, `attribute` and perhaps `aligned`; raises `SourceError`, `DataError`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(Path(path))
            _require_full(path, table)
            ids, attributes = (np.array(list(map(str, table.column(c).to_pylist()))) for c in ("id", "attribute"))
            known = "aligned" in table.column_names
            aligned = np.array(table.column("aligned").to_pylist(), np.bool_) if known else None
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise SourceError(
                f"reading groups from {path}", received=f"a file that cannot be read ({error})",
                expected="a parquet file with the columns id and attribute",
                remedy="check the path; decoct bias make writes groups.parquet",
            ) from error  # fmt: skip
        return cls(ids, attributes, aligned)


def _require_full(path: str | Path, table: Any) -> None:
    """Raise `DataError` for empty cells, which would be read as aligned rows or not, and as a group of their own."""
    columns = [name for name in ("id", "attribute", "aligned") if name in table.column_names]
    empty = {name: sum(table.column(name).is_null(nan_is_null=True).to_pylist()) for name in columns}
    if any(empty.values()):
        told = ", ".join(f"{count} of {len(table)} cells of {name}" for name, count in empty.items() if count)
        raise DataError(
            f"reading groups from {path}",
            received=f"empty cells: {told}",
            expected="a value in every cell of id, attribute and, where it is there, aligned",
            remedy="fill them or leave the rows out; without the column aligned, it is told from the training rows",
        )

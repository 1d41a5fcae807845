"""Scores by id: which row of a table belongs to which training row, and which way round its columns are."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from decoct.data.dataset import Dataset
from decoct.errors import DataError, MismatchError
from decoct.files import write_atomically
from decoct.registry import unknown_name
from decoct.selection.score_files import FACTS

LISTED = 5
"""Ids named in an error."""
QUALITY = ("label_quality", "label_quality_score", "label_score")
"""Columns of cleanlab between 0 and 1 that are low where a label is likely wrong."""
_NUMBERED = re.compile(r"(all|train)/(\d+)")


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of rows: `ids` `[n]`, one column `[n]` for each score, as its maker wrote it.

    Columns of decoct are larger for harder rows. Those of other tools may be the other way round, and may lack values.
    """

    ids: tuple[str, ...]
    columns: Mapping[str, Float[Tensor, " n"]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """How they were made, where decoct made them: fingerprint of the data, network, seed, epochs and the like."""

    def __len__(self) -> int:
        return len(self.ids)

    def for_data(self, data: Dataset, name: str) -> Float[Tensor, "n 1"]:
        """`for_rows` for the training rows of `data`, from a table of these or of all rows of their source."""
        return self.for_rows(data.train.ids.tolist(), name, source_rows(data))

    def for_rows(self, ids: Sequence[str], name: str, rows: int | None = None) -> Float[Tensor, "n 1"]:
        """The score `name` of the rows with these ids, in their order, larger for harder rows.

        `name` is a column; those of `QUALITY` count as 1 minus the column, because they are low for bad labels. A minus
        in front takes any column the other way round, and those of `QUALITY` as they are. A table that knows rows by
        whole numbers from 0 up, as data frames do, is matched by row number: where it has `rows` rows, those of the
        whole source, to the numbers in "all/7" or "train/7"; else, where it has as many rows as there are ids, to their
        places. `notices` says which of this was done.

        Raises `UnknownNameError` for a score that is not there, `MismatchError` for ids without a score, `DataError`
        for values that are missing, NaN or infinite in this column and these rows.
        """
        column, turned = self._column(name)
        places, _ = self._places(ids, name, rows)
        values = self.columns[column][torch.tensor(places, dtype=torch.int64)].double()
        bad = (~torch.isfinite(values)).nonzero()[:, 0].tolist()
        if bad:
            raise DataError(
                f"using the score {name!r}",
                received=f"{len(bad)} values that are missing, NaN or infinite, first in row {places[bad[0]]}, which "
                f"is {ids[bad[0]]}",
                expected="a finite number for every training row",
                remedy="fill in those values, or leave those rows out of the data",
            )
        # In double precision, so that qualities just below 1 still differ.
        turned_round = 1 - values if column in QUALITY else -values
        return (turned_round if turned else values).float()[:, None]

    def notices(self, ids: Sequence[str], name: str, rows: int | None = None) -> tuple[str, ...]:
        """Sentences about what `for_rows` decides with the same arguments; raises `MismatchError` as it does."""
        column, turned = self._column(name)
        _, said = self._places(ids, name, rows)
        if column in QUALITY and turned:
            said = (
                *said,
                f"{column} is low where a label is likely wrong, so the score is 1 - {column}: hardest takes the "
                f"likely wrong labels, easiest the likely right ones (-{column} takes the column as it is)",
            )
        return said

    def notices_for(self, data: Dataset, name: str) -> tuple[str, ...]:
        """`notices` on what `for_data` decides, and one where the scores are those of other data than these."""
        said = self.notices(data.train.ids.tolist(), name, source_rows(data))
        if self.facts.get("fingerprint", data.spec.fingerprint) == data.spec.fingerprint:
            return said
        return (
            *said,
            f"the scores were made of other data, {self.facts.get('source')} as it was opened then: they are matched "
            "by id, and rows of the same id need not be the same rows",
        )

    def save(self, path: Path, labels: Sequence[str] | None = None) -> None:
        """Write parquet: `id`, `class` where it is given, the scores, and the facts beside; whole or not at all."""
        named = {} if labels is None else {"class": pa.array(list(labels))}
        arrays = {name: pa.array(values.numpy()) for name, values in self.columns.items()}
        buffer = io.BytesIO()
        table = pa.table({"id": pa.array(list(self.ids)), **named, **arrays})
        facts = {FACTS: json.dumps(dict(self.facts)).encode()} if self.facts else None
        pq.write_table(table.replace_schema_metadata(facts), buffer)
        write_atomically(path, lambda file: Path(file).write_bytes(buffer.getvalue()))

    def _column(self, name: str) -> tuple[str, bool]:
        """The column that a name stands for, and whether it is turned round."""
        if name in self.columns:
            return name, name in QUALITY
        own = name.removeprefix("-")
        if own not in self.columns:
            raise unknown_name("score", name, list(self.columns))
        return own, own not in QUALITY

    def _places(self, ids: Sequence[str], name: str, rows: int | None) -> tuple[list[int], tuple[str, ...]]:
        """For each id the row of this table, and notices."""
        place = {own: row for row, own in enumerate(self.ids)}
        missing = [own for own in ids if own not in place]
        if not missing:
            return [place[own] for own in ids], ()
        numbers = self._by_number(ids, rows) if len(missing) == len(ids) else None
        if numbers is None:
            known = f"{self.ids[0]} and {self.ids[-1]}" if self.ids else "none"
            raise MismatchError(
                f"using the score {name!r}",
                received=f"a table of {len(self)} rows (ids such as {known}) without {len(missing)} of the {len(ids)} "
                "training rows, such as " + ", ".join(missing[:LISTED]),
                expected="a score for every training row, by its id, or by row number with as many rows as there are "
                "training rows or rows of the whole source",
                remedy="score the same data, or drop the other rows with data.with_train; in Python "
                "`ScoreTable.for_data(data, name)` knows the rows of the source",
            )
        found, said = numbers
        return [place[str(number)] for number in found], (said,)

    def _by_number(self, ids: Sequence[str], rows: int | None) -> tuple[list[int], str] | None:
        """The row numbers that these ids stand for, and how they were told; None where the counts do not agree."""
        if set(self.ids) != {str(number) for number in range(len(self))}:
            return None
        named = [_NUMBERED.fullmatch(own) for own in ids]
        found = [int(match[2]) for match in named if match]
        if len(found) == len(ids) and max(found, default=0) < len(self) == rows:
            return found, (
                f"the scores know their {len(self)} rows by number: they were taken for the rows of the source in its "
                "order"
            )
        if len(self) == len(ids):
            return list(range(len(ids))), (
                f"the scores know their {len(self)} rows by number: they were taken for the training rows in their "
                "order"
            )
        return None


def source_rows(data: Dataset) -> int | None:
    """Rows of the part of the source that training rows were taken from; None where ids are not its row numbers."""
    first = _NUMBERED.fullmatch(str(data.train.ids[0]))
    if first is None:
        return None
    ids = [name for split in (data.train, data.val, data.test) for name in split.ids.tolist()]
    return sum(str(name).startswith(f"{first[1]}/") for name in ids)

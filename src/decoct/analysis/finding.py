"""`Finding`: what an analysis found, as a table, a chart and one sentence, in plain values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from decoct.errors import IntegrityError
from decoct.evaluation import statistics
from decoct.files import write_json

SCHEMA_VERSION = 1
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")

Cell = str | int | float | None | Mapping[str, float | int | None]


def estimate(values: Sequence[float], confidence: float = 0.95) -> dict[str, float | int | None]:
    """Mean and interval (95 %) over seeds: `{"mean", "low", "high", "runs"}`; no interval for one run.

    Raises `ValueError` for no values.
    """
    low, high = statistics.interval(values, confidence) or (None, None)
    return {"mean": statistics.mean(values), "low": low, "high": high, "runs": len(values)}


def shown(value: Mapping[str, Any], percent: bool = False, sign: bool = False) -> str:
    """An estimate as a person reads it: "84.1 ± 0.4", "84.1" for one run, "84.1 (80.2 to 85.0)" for a lopsided one."""
    factor = 100.0 if percent else 1.0
    mean = factor * value["mean"]
    low, high = value.get("low"), value.get("high")
    digits = _digits(mean) if not percent else 1
    head = f"{mean:{'+' if sign else ''}.{digits}f}".replace("-", "−")
    if low is None or high is None:
        return head
    below, above = mean - factor * low, factor * high - mean
    if abs(above - below) > 0.02 * (above + below):
        return f"{head} ({factor * low:.{digits}f} to {factor * high:.{digits}f})".replace("-", "−")
    return f"{head} ± {above:.{digits}f}"


def _digits(value: float) -> int:
    """Digits behind the point that leave three that count."""
    if value == 0 or not math.isfinite(value):
        return 1
    return max(0, min(6, 2 - math.floor(math.log10(abs(value)))))


@dataclass(frozen=True)
class Series:
    """One line or one kind of mark of a chart: places, heights, and the ends of their intervals (None: none)."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    line: bool = True
    """Whether the marks are joined."""
    quiet: bool = False
    """Whether it is drawn in gray, as a thing to compare with."""

    @classmethod
    def of(
        cls, name: str, x: Sequence[float | int], estimates: Sequence[Mapping[str, Any]], *,
        line: bool = True, quiet: bool = False,
    ) -> Series:  # fmt: skip
        """A series of `estimate`s."""
        heights = tuple(float(value["mean"]) for value in estimates)
        low, high = (tuple(value.get(end) for value in estimates) for end in ("low", "high"))
        return cls(name, tuple(map(float, x)), heights, low, high, line, quiet)


@dataclass(frozen=True)
class Chart:
    """What is drawn: series over one axis. Places are numbers, or 0, 1, 2, ... with `names`."""

    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False
    """Logarithmic places; those of 0 stand at the left end."""
    log_y: bool = False
    percent: bool = False
    """Heights are fractions, shown in per cent."""
    names: tuple[str, ...] = ()
    """Names of the places, where they are no numbers."""


@dataclass(frozen=True)
class Finding:
    """The result of one analysis of one set on one data set."""

    name: str
    """The analysis."""
    sentence: str
    """What was found, in one or two sentences with numbers."""
    chart: Chart
    rows: tuple[Mapping[str, Cell], ...]
    """The table: the same columns in every row, text, numbers or estimates."""
    percent: tuple[str, ...] = ()
    """Columns whose numbers are fractions, shown in per cent."""
    notes: tuple[str, ...] = ()
    """What a reader must know to read the numbers right."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Set, data, network, seeds, settings, hardware: what is needed to get the same again."""
    pictures: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Rows of small pictures: a caption, and PNG files in base64."""
    further: tuple[Chart, ...] = ()
    """Charts beside the first."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        body = {"kind": "finding", "schema_version": SCHEMA_VERSION, **asdict(self)}
        return json.loads(json.dumps(body, allow_nan=False))

    @classmethod
    def from_json(cls, value: Any, where: str = "a finding") -> Finding:
        """Read what `to_json` wrote; raises `IntegrityError` for anything else."""
        try:
            if value["kind"] != "finding" or value["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"kind {value['kind']!r}, schema version {value['schema_version']!r}")
            chart, *further = (_chart(part) for part in (value["chart"], *value.get("further", ())))
            pictures = tuple((str(title), _texts(tiles)) for title, tiles in value["pictures"])
            rows = tuple(dict(row) for row in value["rows"])
            own = {name: part for name, part in value.items() if name not in ("kind", "schema_version")}
            lists = {"percent": _texts(value["percent"]), "notes": _texts(value["notes"])}
            found = cls(**{**own, **lists, "chart": chart, "rows": rows, "pictures": pictures,
                           "further": tuple(further)})  # fmt: skip
            _require_sound(found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IntegrityError(
                f"reading {where}",
                received=f"{type(error).__name__}: {error}"[:300],
                expected=f"what decoct analyze wrote, schema version {SCHEMA_VERSION}",
                remedy="analyse again: finished runs are reused",
            ) from error
        return found

    def save(self, path: str | Path) -> None:
        """Write the JSON whole or not at all; raises `OutputError`."""
        write_json(Path(path), self.to_json())

    def table(self) -> str:
        """Sentence, rows and notes as aligned text for a terminal."""
        heads = list(self.rows[0]) if self.rows else []
        body = [[self.cell(head, row.get(head)) for head in heads] for row in self.rows]
        lines = [[f"{head}, %" if head in self.percent else head for head in heads], *body]
        widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
        said = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        return "\n".join([self.sentence, "", *said, *(f"note: {note}" for note in self.notes)])

    def cell(self, head: str, value: Cell) -> str:
        """One cell of the table as text."""
        if isinstance(value, Mapping):
            return shown(value, head in self.percent)
        if value is None:
            return "–"
        if isinstance(value, float):
            return shown({"mean": value}, head in self.percent)
        return f"{value:,}" if isinstance(value, int) else value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"a list of texts was expected, found {values!r:.80}")
    return tuple(values)


def _chart(value: Any) -> Chart:
    series = tuple(_series(part) for part in value["series"])
    chart = Chart(**{**value, "series": series, "names": _texts(value["names"])})
    if not all(isinstance(text, str) for text in (chart.x_label, chart.y_label, *(s.name for s in series))):
        raise ValueError("labels as text were expected")
    return chart


def _series(part: Any) -> Series:
    numbers = {name: tuple(part[name]) for name in ("x", "y", "low", "high")}
    if len({len(values) for values in numbers.values()}) != 1:
        raise ValueError(f"series {part['name']!r:.80} with lists of different lengths")
    for name, values in numbers.items():
        empty = name in ("low", "high")
        if not all((value is None and empty) or _is_number(value) for value in values):
            raise ValueError(f"series {part['name']!r:.80} with {name} that are no numbers")
    return Series(**{**part, **numbers})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_estimate(value: dict[str, Any]) -> bool:
    ends = [value.get("low"), value.get("high")]
    return _is_number(value.get("mean")) and all(end is None or _is_number(end) for end in ends)


def _require_sound(found: Finding) -> None:
    """Raise `ValueError` for values that a page could not show."""
    texts = (
        found.name,
        found.sentence,
        found.chart.x_label,
        found.chart.y_label,
        *(s.name for s in found.chart.series),
    )
    if not all(isinstance(text, str) for text in texts) or not _NAME.fullmatch(found.name):
        raise ValueError("a name, a sentence and labels as text were expected")
    for row in found.rows:
        for value in row.values():
            plain = value is None or isinstance(value, str) or _is_number(value)
            if not (plain or (isinstance(value, dict) and _is_estimate(value))):
                raise ValueError(f"a cell of the table is {value!r:.80}")
    for _, tiles in found.pictures:
        if not all(re.fullmatch(r"iVBORw0KGgo[A-Za-z0-9+/]*={0,2}", tile) for tile in tiles):
            raise ValueError("a picture is no PNG in base64")

"""From judged sets to the contents of a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from decoct.compact.compact_set import CompactSet
from decoct.compact.stored import hard_label_bytes
from decoct.data.dataset import Dataset
from decoct.durations import show_bytes
from decoct.evaluation.contender import HARD_LABELS
from decoct.evaluation.fair_scores import fair_scores_of
from decoct.evaluation.gain import gain_over_random
from decoct.evaluation.match import require_judged_on
from decoct.evaluation.matrix import Matrix
from decoct.evaluation.scorecard import Entry, Scorecard
from decoct.evaluation.withheld import in_terms_of
from decoct.report.contents import Column, Contents, Estimate, Gallery, Heat, Pixels, Row, Whole
from decoct.report.judged import Judged, class_names_of
from decoct.report.places import mixed, places_among

CLASSES_SHOWN = 10
IMAGES_SHOWN = 10
HEAT_ROWS = 200


def contents_of(judged: Sequence[Judged], data: Dataset | None = None, commands: Sequence[str] = ()) -> Contents:
    """Put everything about `judged` on one page; real pictures come from `data`, where it is given.

    Raises `MismatchError` where a set was not made from `data`. One whose fingerprint is withheld is shown beside data
    of its shape and classes, with a note.
    """
    cards = [one.scorecard for one in judged if one.scorecard]
    sets = [one.compact_set for one in judged if one.compact_set]
    notices = [note for one in judged for note in one.notes]
    if data is not None:
        for compact_set in sets:
            notices += in_terms_of(compact_set, data.spec, f"showing {data.spec.source} beside a compact set")[1]
        for card in cards:
            require_judged_on(card, data.spec)
    facts = dict(cards[0].data) if cards else {}
    spec = data.spec if data else sets[0].spec if sets else None
    scored = tuple((one.name, one.scored) for one in judged if one.scored is not None)
    return Contents(
        source=spec.source if spec else str(facts.get("source", scored[0][1].source if scored else "a set")),
        class_names=spec.class_names if spec else class_names_of(cards[0] if cards else None),
        shape=spec.shape if spec else tuple(facts.get("shape", ())),
        train=len(data.train) if data else int(facts.get("train", 0)),
        protocol=str(cards[0].protocol.get("name")) if cards else "",
        rows=rows_of(judged),
        galleries=galleries_of(judged, data),
        heats=tuple(heat_of(one.name, one.compact_set, one.size) for one in judged if _is_soft(one.compact_set)),
        matrices=tuple((_title(one), matrix) for one in judged if (matrix := _matrix(one)) is not None),
        scores=tuple(s for one in judged if (m := _matrix(one)) is not None for s in fair_scores_of(m)),
        label_cards=tuple((_labels_title(one), one.label_card) for one in judged if one.label_card is not None),
        findings=tuple((_called(one), found) for one in judged for found in one.findings),
        scored=scored,
        facts=tuple(_facts(cards, sets)),
        commands=tuple(commands),
        warnings=mixed(cards),
        notes=_notes(cards, spec.notices if spec else tuple(map(str, facts.get("notices", ()))), notices),
    )


def _matrix(one: Judged) -> Matrix | None:
    """The matrix of a set; its scorecard alone where that is newer and not about the same."""
    if one.scorecard is None or (one.matrix and one.scorecard in one.matrix.scorecards.values()):
        return one.matrix
    return Matrix({"protocol": one.scorecard})


def _title(one: Judged) -> str:
    return f"{one.name}, {one.size:.4g} per class"


def _labels_title(one: Judged) -> str:
    """With the protocol, where the labels were judged under another than the set."""
    own, card = one.label_card, one.scorecard
    if own is None or card is None or own.protocol.get("hash") == card.protocol.get("hash"):
        return _title(one)
    return f"{_title(one)}, under {own.protocol.get('name')}"


def _called(one: Judged) -> str:
    """A set by name and size; what has neither set nor scorecard, such as an application, by name alone."""
    return f"{one.name}, {one.size:.4g} per class" if one.compact_set or one.scorecard else one.name


def rows_of(judged: Sequence[Judged]) -> tuple[Row, ...]:
    """A line for every entry. A baseline of the same rows under the same protocol stands there once, and not at all
    where it was asked about at that size."""
    found = [(one, one.scorecard) for one in judged if one.scorecard]
    place = places_among([card for _, card in found])
    rows: list[Row] = []
    asked: set[tuple[Any, ...]] = set()
    others: dict[tuple[Any, ...], Row] = {}
    for one, card in found:
        where, whole = place(card), _whole(card)
        for entry in card.entries:
            key = (entry.name, entry.network, entry.rows, where, _drawn(entry, card))
            if entry.kind == "judged":
                rows.append(replace(_row(entry, one, card), place=where, whole=whole))
                asked.add(key)
            else:
                others.setdefault(key, Row(entry, one.size, place=where, whole=whole))
    return (*rows, *(row for key, row in others.items() if key not in asked))


def _drawn(entry: Entry, card: Scorecard) -> Any:
    """What the rows or the labels of a baseline come from beside the data: the set itself, or a teacher."""
    if entry.name.endswith(f"/{HARD_LABELS}"):
        return card.provenance.get("content_hash")
    return card.provenance.get("teacher") if "teacher" in entry.name else None


def _row(entry: Entry, one: Judged, card: Scorecard) -> Row:
    """A judged entry with its gain over the random rows of its scorecard."""
    found = gain_over_random(entry, card)
    if found is None:
        return Row(entry, one.size, None, one.seconds)
    return Row(entry, one.size, Estimate.of(found.values), one.seconds, found.rival)


def _whole(card: Scorecard) -> Whole | None:
    """All training rows that a scorecard is about; None where an earlier version did not say how large a row is."""
    rows, each = card.data.get("train"), card.data.get("row_bytes")
    if not (isinstance(rows, int) and isinstance(each, int)):
        return None
    return Whole(rows, rows * each + hard_label_bytes(rows, len(class_names_of(card))))


def galleries_of(judged: Sequence[Judged], data: Dataset | None) -> tuple[Gallery, ...]:
    """One gallery for each size, with the real pictures first; nothing for tables of features."""
    shown = [one for one in judged if one.compact_set is not None and one.compact_set.spec.is_image]
    galleries = []
    for size in sorted({one.size for one in shown}):
        group = [one for one in shown if one.size == size]
        galleries.append(_gallery(size, group, data))
    return tuple(galleries)


def _gallery(size: float, group: Sequence[Judged], data: Dataset | None) -> Gallery:
    sets = [(one.name, one.compact_set) for one in group if one.compact_set]
    names = sets[0][1].spec.class_names
    # Evenly spaced, so that a long list of classes is shown from end to end.
    classes = np.unique(np.linspace(0, len(names) - 1, min(CLASSES_SHOWN, len(names))).round().astype(int))
    columns = [_real_column(data, classes, size)] if data else []
    columns += [_column(name, compact_set, classes) for name, compact_set in sets]
    title = f"{size:.4g} per class"
    return Gallery(title, tuple(names[k] for k in classes), tuple(columns), len(names) - len(classes))


def _column(title: str, compact_set: CompactSet, classes: np.ndarray) -> Column:
    pictures, nominal = compact_set.pictures().numpy(), compact_set.classes.numpy()
    rows = [np.flatnonzero(nominal == k) for k in classes]
    return Column(title, tuple(pictures[r[:IMAGES_SHOWN]] for r in rows), tuple(map(len, rows)))


def _real_column(data: Dataset, classes: np.ndarray, size: float) -> Column:
    rows = data.train.class_rows(data.spec.classes)
    count = IMAGES_SHOWN if size > 1 else IMAGES_SHOWN // 2
    chosen: list[Pixels] = []
    for k in classes:
        raw = data.train.raw(np.sort(rows[k][:count])).numpy()
        chosen.append(np.ascontiguousarray(raw.transpose(0, 2, 3, 1)))
    return Column("real", tuple(chosen), tuple(len(rows[k]) for k in classes))


def _is_soft(compact_set: CompactSet | None) -> bool:
    return compact_set is not None and compact_set.label_kind != "hard"


def heat_of(name: str, compact_set: CompactSet | None, size: float) -> Heat:
    """The soft labels of a set, sorted by class; at most `HEAT_ROWS` rows, the same number of every class."""
    assert compact_set is not None
    _, targets, _ = compact_set.materialize()
    nominal = compact_set.classes.numpy()
    order = np.argsort(nominal, kind="stable")
    rank = np.arange(len(order)) - np.searchsorted(nominal[order], nominal[order])
    each = max(1, HEAT_ROWS // max(len(np.unique(nominal)), 1))
    rows = order[rank < each][:HEAT_ROWS]
    names = compact_set.spec.class_names
    title = f"{name}, {size:.4g} per class"
    shown = tuple(names[k] for k in nominal[rows])
    values = targets.float().numpy()[rows]
    return Heat(title, values, shown, names, compact_set.label_kind, len(order) - len(rows))


def _facts(cards: Sequence[Scorecard], sets: Sequence[CompactSet]) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for part in ("data", "protocol", "provenance"):
        if cards:
            facts += _flat({k: v for k, v in getattr(cards[0], part).items() if k != "notices"}, part)
    if not cards and sets:
        facts = [("data: source", sets[0].spec.source), ("data: fingerprint", sets[0].spec.fingerprint)]
    return facts


def _flat(values: Mapping[str, Any], part: str) -> list[tuple[str, str]]:
    return [(f"{part}: {name.replace('_', ' ')}", _shown(name, value)) for name, value in values.items()]


def _shown(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(str(key), inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        words = [_shown(name, inner) for inner in value]
        return ", ".join(words if len(words) <= 24 else [*words[:20], f"... {len(words)} in all"])
    if isinstance(value, int) and not isinstance(value, bool):
        return show_bytes(value) if name == "memory" else f"{value:,}" if abs(value) >= 10_000 else str(value)
    return value if isinstance(value, str) else json.dumps(value)


def _notes(cards: Sequence[Scorecard], of_data: Sequence[str], of_sets: Sequence[str]) -> tuple[str, ...]:
    told = [*(f"Data: {notice}" for notice in of_data), *of_sets]
    told += [note for card in cards for note in card.notes]
    told += [f"{entry.label}: {note}" for card in cards for entry in card.entries for note in entry.notes]
    return tuple(dict.fromkeys([*told, "Intervals cover the seeds of the networks, with each set as it is."]))

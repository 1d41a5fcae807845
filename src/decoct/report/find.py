"""Find results on disk: comparisons, scorecards and sets in a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from decoct.analysis.finding import Finding
from decoct.analysis.table import ANALYSES
from decoct.compact.load import load
from decoct.errors import SourceError
from decoct.evaluation import label_bytes, matrix
from decoct.evaluation.data_facts import DATA_KEYS
from decoct.evaluation.scorecard import Scorecard, expect, read_json
from decoct.report.judged import Judged, with_refused
from decoct.report.scored_rows import FILE_NAME, ScoredRows

_RESULTS = ("comparison.json", "manifest.json", "scorecard.json", FILE_NAME, "finding.json", "finding-*.json")


def runs_in(folder: Path) -> list[Path]:
    """The folder where results stand in it, else its folders that hold some. Raises what `results_in` raises."""
    try:
        results_in(folder)
    except SourceError:
        inside = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        runs = [path for path in inside if any(next(path.glob(name), None) for name in _RESULTS)]
        if not runs:
            raise
        return runs
    return [folder]


def results_in(folder: Path) -> list[Judged]:
    """Everything judged or made in `folder`: comparison.json, scorecard.json, a set with its evaluation, the findings
    of an application, or the rows of a scored folder.

    Raises `SourceError` where there is nothing of the kind, and what `load` raises for a damaged set.
    """
    if not folder.is_dir():
        raise SourceError(
            "looking for results",
            received=f"{folder}, which is not a folder",
            expected="a folder written by compare, evaluate, distill, select, import, apply or score",
            remedy="check the path",
        )
    if (folder / "comparison.json").is_file():
        return _comparison(folder)
    if (folder / "manifest.json").is_file():
        return [_with_more(_one_set(folder), folder)]
    if (folder / "scorecard.json").is_file():
        return [_with_more(_named(Scorecard.load(folder / "scorecard.json"), folder), folder)]
    if found := application_findings(folder):
        return [Judged(folder.resolve().name, findings=found)]
    if (folder / FILE_NAME).is_file():
        return [Judged(folder.resolve().name, scored=ScoredRows.load(folder / FILE_NAME))]
    raise SourceError(
        "looking for results",
        received=f"{folder}, with neither comparison.json, manifest.json, scorecard.json nor {FILE_NAME}",
        expected="a folder written by compare, evaluate, distill, select, import, apply or score, or a folder of these",
        remedy="run the command that should have filled it again: it goes on where it was stopped",
    )


def application_findings(folder: Path) -> tuple[Finding, ...]:
    """What `decoct apply` found: a finding-NAME.json for each thing; finding.json is what earlier versions wrote.

    Raises `IntegrityError`.
    """
    paths = [folder / "finding.json", *sorted(folder.glob("finding-*.json"))]
    return tuple(Finding.from_json(read_json(path), str(path)) for path in paths if path.is_file())


def _comparison(folder: Path) -> list[Judged]:
    value = read_json(folder / "comparison.json")
    expect(isinstance(value, dict) and value.get("kind") == "comparison", "a comparison", value)
    contests = value.get("contests")
    expect(isinstance(contests, list), "a list of contests", contests)
    refused = value.get("refused", [])
    expect(isinstance(refused, list) and all(isinstance(one, str) for one in refused), "a list of texts", refused)
    return with_refused([_contest(folder, contest) for contest in contests or ()], refused)


def _contest(folder: Path, contest: Any) -> Judged:
    names = {"method": str, "ipc": int, "seconds": (int, float), "scorecard": dict}
    good = isinstance(contest, dict) and all(isinstance(contest.get(name), kind) for name, kind in names.items())
    expect(good, f"a contest with {sorted(names)}", contest)
    path, root = contest.get("path"), folder.resolve()
    # A comparison names its sets by path; one that points outside the folder is not followed.
    inside = isinstance(path, str) and (root / path).resolve().is_relative_to(root) and (root / path).is_dir()
    compact_set = load(folder / str(path)) if inside else None
    card = Scorecard.from_json(contest["scorecard"])
    found = findings_in(root / str(path)) if inside else ()
    return Judged(contest["method"], compact_set, card, float(contest["ipc"]), float(contest["seconds"]), found)


def _one_set(folder: Path) -> Judged:
    compact_set = load(folder)
    known = compact_set.provenance
    seconds = known.get("seconds")
    name = str(known.get("name") or known.get("recipe") or known.get("method") or folder.name)
    for path in (folder / "evaluation" / "scorecard.json", folder / "scorecard.json"):
        if path.is_file():
            return Judged(name, compact_set, Scorecard.load(path), seconds=seconds, findings=findings_in(folder))
    return Judged(name, compact_set, seconds=seconds, findings=findings_in(folder))


def findings_in(folder: Path) -> tuple[Finding, ...]:
    """What `decoct analyze` and `decoct bias measure` found about the set in `folder`, in the order of the names.

    Raises `IntegrityError`.
    """
    paths = [folder / "analysis" / f"{name}.json" for name in sorted([*ANALYSES, "bias"])]
    return tuple(Finding.from_json(read_json(path), str(path)) for path in paths if path.is_file())


def _with_more(one: Judged, folder: Path) -> Judged:
    """With the matrix and the label bytes of the evaluation, and the rows that were scored, where there are any.

    A scorecard is written after its matrix: what is in it now counts in the matrix too. Label bytes stay behind where a
    set is made or judged anew without them: those of another set or other data are not shown.
    """
    inner = folder / "evaluation" if (folder / "evaluation").is_dir() else folder
    fields, labels = inner / matrix.FILE_NAME, inner / label_bytes.FILE_NAME
    many = matrix.Matrix.load(fields) if fields.is_file() else None
    card = Scorecard.load(labels) if labels.is_file() else None
    foreign = card is not None and not _is_about(card, one)
    return replace(
        one,
        matrix=many.with_newer(one.scorecard) if many and one.scorecard else many,
        label_card=None if foreign else card,
        notes=(f"{labels.name} is of another set or other data than {one.name} and is not shown",) if foreign else (),
        scored=ScoredRows.load(folder / FILE_NAME) if (folder / FILE_NAME).is_file() else None,
    )


def _is_about(labels: Scorecard, one: Judged) -> bool:
    """Whether label bytes are of the same set and data as the scorecard; without one, of the set that is there."""
    if one.scorecard is None:
        return one.compact_set is None or labels.provenance.get("content_hash") == one.compact_set.content_hash
    ours, theirs = (
        [card.provenance.get("content_hash"), *(card.data.get(key) for key in DATA_KEYS)]
        for card in (labels, one.scorecard)
    )
    return ours == theirs


def _named(card: Scorecard, folder: Path) -> Judged:
    return Judged(card.judged[0].label if card.judged else folder.name, None, card)

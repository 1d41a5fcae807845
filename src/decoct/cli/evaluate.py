"""`decoct evaluate DIR --data SOURCE`: what training on a set gives, beside honest baselines."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from decoct.cli.opening import Folder, Opening, Output, left_out

if TYPE_CHECKING:
    from decoct.evaluation.matrix import Matrix

NEEDED = ("random", "random+teacher", "hard-labels", "full")
"""Baselines that fair scores are made of."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train networks on a set and on baselines of the same bytes, and measure them all alike."""

    folder: Folder
    """Folder of the set."""
    data: str
    """The source that the set was made from: digits, npz:PATH, imagefolder:PATH, ..."""
    protocol: str = "quick"
    """How networks are trained and measured: quick, dc-300, dsa-1000, soft-300, soft-1000, own (learned steps)."""
    networks: Annotated[tuple[str, ...], left_out("NAME...")] = ()
    """Networks to train; without it, the field's ConvNet for the size of the images."""
    seeds: int = 5
    """Networks of each kind; the interval is over them."""
    baselines: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ("random", "herding", "random+teacher", "full")
    """What the set is compared with, in its own bytes; full is all of the data, hard-labels its own rows."""
    augment: Annotated[tuple[str, ...], left_out("NAME...")] = ()
    """In place of the protocol's own: protocol, none, dsa, dsa-without-flip, cutmix, mixup, randaugment."""
    fair: bool = False
    """Measure what the label-robust score needs: a set with soft labels under hard ones, and the full data."""
    search: Annotated[int | None, left_out("N")] = None
    """Try N step sizes for the set and for every baseline on validation data."""
    labels: Annotated[tuple[str, ...], left_out("NAME...")] = ()
    """Keep the labels in other ways too: usual (hard, and every power of two entries), hard, own, own-top3,
    own-top3-8bit, teacher, ..."""
    out: Annotated[Path | None, left_out("PATH")] = None
    """Where scorecard.json and finished runs go; without it, DIR/evaluation."""
    device: Annotated[str | None, left_out("NAME")] = None
    """cpu, cuda or cuda:1; without it, the fastest there is."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Judge the set and write its scorecard beside it; the set's own files stay as they are."""
    from decoct.compact.load import load
    from decoct.evaluation import label_bytes
    from decoct.evaluation.fair_scores import fair_scores_of
    from decoct.evaluation.matrix import FILE_NAME, evaluate_matrix
    from decoct.evaluation.protocol import protocol_from
    from decoct.evaluation.search import Search
    from decoct.files import write_json

    protocol = options.protocol if options.protocol == "own" else protocol_from(options.protocol)
    search = None if options.search is None else Search.of(options.search)
    small = load(options.folder)
    if options.labels:
        # Hours of training stand between here and where they are used.
        label_bytes.keepings(small, options.labels)
    data = options.opening.open(options.data)
    out = options.out or options.folder / "evaluation"
    baselines = tuple(dict.fromkeys((*options.baselines, *(NEEDED if options.fair else ()))))
    matrix: Matrix = evaluate_matrix(
        small, data, protocol, options.networks or None, options.seeds,
        augmentations=options.augment or ("protocol",), baselines=baselines, search=search,
        out=out, device=options.device,
    )  # fmt: skip
    path, scores = out / "scorecard.json", [score.to_json() for score in fair_scores_of(matrix)]
    if options.augment:
        matrix.save(out / FILE_NAME)
    write_json(out / "fair_scores.json", {"kind": "fair-scores", "schema_version": 1, "scores": scores})
    matrix.first.save(path)
    more = {"matrix": matrix.to_json()} if options.augment else {}
    if options.labels:
        from decoct.evaluation.judge import Bench, set_protocol
        from decoct.evaluation.withheld import in_terms_of

        bench = Bench.of(
            data, set_protocol(protocol, small), options.networks or None, options.seeds, baselines=(), search=search,
            out=out, device=options.device,
        )  # fmt: skip
        card = label_bytes.label_bytes(in_terms_of(small, data.spec)[0], bench, options.labels)
        card.save(out / label_bytes.FILE_NAME)
        more["label_bytes"] = card.to_json()
    return {**matrix.first.to_json(), "path": str(path), "fair_scores": scores, **more}


def show(result: dict[str, Any]) -> str:
    """The tables, and where the scorecard is."""
    from decoct.evaluation.fair_scores import fair_scores_of, table_of_scores
    from decoct.evaluation.matrix import Matrix
    from decoct.evaluation.scorecard import Scorecard

    own = {"path", "fair_scores", "matrix", "label_bytes"}
    card = Scorecard.from_json({name: value for name, value in result.items() if name not in own})
    matrix = Matrix.from_json(result["matrix"]) if "matrix" in result else Matrix({"protocol": card})
    fields = [matrix.table()] if "matrix" in result else []
    measured = any(score["lrs"] or score["ars"] for score in result["fair_scores"])
    scores = [table_of_scores(fair_scores_of(matrix))] if measured else []
    labels = [Scorecard.from_json(result["label_bytes"]).table()] if "label_bytes" in result else []
    return "\n".join([card.table(), *fields, *scores, *labels, f"scorecard: {result['path']}"])

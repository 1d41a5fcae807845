"""The section of a report on other networks and other augmentations: a table in the manner of a heat map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from decoct.evaluation.fair_scores import FairScore
from decoct.evaluation.matrix import Matrix
from decoct.evaluation.scorecard import Entry, Kind
from decoct.report.contents import Estimate
from decoct.report.numbers import estimate

Line = tuple[str, Kind]


def matrix_section(matrices: Sequence[tuple[str, Matrix]]) -> str:
    """For each judged set a table of networks for each augmentation, and of augmentations for each network.

    Nothing where there is a single network under a single augmentation.
    """
    parts = []
    for title, matrix in matrices:
        wide = len(matrix.networks) > 1 or len(matrix.augmentations) > 1
        if wide:
            told = "".join(f"<li>{escape(note)}</li>" for note in matrix.diverged)
            notes = f'<ul class="notes">{told}</ul>' if told else ""
            parts.append(f"<h3>{escape(title)}</h3>{_tables(matrix)}{notes}")
    if not parts:
        return ""
    return (
        '<section><h2 id="matrix">Other networks, other augmentations</h2><p>Test accuracy after the last epoch in '
        "per cent, mean and half of the 95 % interval over seeds; the darker, the nearer to the best of its table. "
        "Each column is a training of its own: compare down a column, and gains over random across columns.</p>"
        f"{''.join(parts)}</section>"
    )


def fair_section(scores: Sequence[FairScore]) -> str:
    """Improvement over random, hard-label recovery, label-robust and augmentation-robust score; nothing without any."""
    shown = [score for score in scores if score.ior or score.hlr]
    if not shown:
        return ""
    heads = ("Set", "Accuracy, %", "Bytes", "Over random, points", "Lacking to full, points", "Label-robust score",
             "Augmentation-robust score")  # fmt: skip
    rows = []
    for score in shown:
        random = f' <span class="pm">{escape(score.network)}, against {escape(score.random)}</span>'
        cells = [
            _percent(score.accuracy), f"{score.nbytes:,}", _percent(score.ior, sign=True),
            _percent(score.hlr, sign=True), _score(score.lrs), _score(score.ars),
        ]  # fmt: skip
        data = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row">{escape(score.label)}{random}</th>{data}</tr>')
    notes = "".join(f"<li>{escape(note)}</li>" for note in dict.fromkeys(n for s in shown for n in s.missing))
    told = f'<ul class="notes">{notes}</ul>' if notes else ""
    return (
        '<section><h2 id="fair">Fair scores</h2><p>Paired by seed. <b>Over random</b> compares with random rows under '
        "labels of the same kind, in the same bytes. <b>Lacking to full</b> is what is lost when these rows with hard "
        "labels stand for all of the data. The label-robust score weighs both, the augmentation-robust score weighs "
        "gains with and without augmentation. Both lie in [0, 1]; 0.269 means that nothing is gained.</p>"
        f"{_table('Fair scores', heads, ''.join(rows))}{told}</section>"
    )


def _tables(matrix: Matrix) -> str:
    parts = []
    if len(matrix.networks) > 1:
        for name in matrix.augmentations:
            title = f"Networks, augmentation: {name}"
            parts.append(_heat(matrix, title, matrix.networks, lambda line, n, name=name: matrix.entry(line, n, name)))
    if len(matrix.augmentations) > 1:
        for network in matrix.networks:
            title = f"Augmentations, {network}"
            columns = matrix.augmentations
            parts.append(_heat(matrix, title, columns, lambda line, a, net=network: matrix.entry(line, net, a)))
    return "".join(parts)


def _heat(matrix: Matrix, title: str, columns: Sequence[str], find: Callable[[Line, str], Entry | None]) -> str:
    means = [entry.mean for line in matrix.lines for c in columns if (entry := find(line, c)) is not None]
    low, high = min(means), max(means)
    rows = []
    for line in matrix.lines:
        cells = [_cell(find(line, column), low, high) for column in columns]
        kind = "quiet" if line[1] == "baseline" else ""
        rows.append(f'<tr class="{kind}"><th scope="row">{escape(line[0])}</th>{"".join(cells)}</tr>')
    return f"<h4>{escape(title)}</h4>" + _table(title, ("Set", *columns), "".join(rows))


def _cell(entry: Entry | None, low: float, high: float) -> str:
    if entry is None:
        return "<td>–</td>"
    share = 0.0 if high <= low else (entry.mean - low) / (high - low)
    paint = f"background:color-mix(in srgb, var(--m0) {round(45 * share)}%, transparent)"
    return f'<td style="{paint}">{estimate(Estimate.of(entry.last))}</td>'


def _percent(values: Sequence[float], sign: bool = False) -> str:
    return estimate(Estimate.of(values), sign) if values else "–"


def _score(values: Sequence[float]) -> str:
    if not values:
        return "–"
    found = Estimate.of(values)
    return f"{found.mean:.3f}" + ("" if found.half is None else f' <span class="pm">± {found.half:.3f}</span>')


def _table(caption: str, heads: Sequence[str], body: str) -> str:
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f'<caption class="hidden">{escape(caption)}</caption><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )

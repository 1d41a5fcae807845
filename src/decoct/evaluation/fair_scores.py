"""Scores of the field that take labels and augmentation out of an accuracy, on fractions and paired by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from decoct.errors import ConfigError
from decoct.evaluation import statistics
from decoct.evaluation.contender import HARD_LABELS
from decoct.evaluation.matrix import Matrix
from decoct.evaluation.scorecard import Entry, Scorecard

WITHOUT = "none"
"""The augmentation whose cells are the ones without any."""


@dataclass(frozen=True)
class FairScore:
    """What one set is worth on one network; each score has one value a seed, or one in all where seeds differ.

    Empty scores were not measured; `missing` says which baseline would give them.
    """

    label: str
    network: str
    nbytes: int
    accuracy: tuple[float, ...]
    """Test accuracy after the last epoch."""
    random: str
    """Which baseline stands for random rows under the same recipe: "random", or "random+teacher" for soft labels."""
    ior: tuple[float, ...] = ()
    """Improvement over random, in [-1, 1]; higher is better."""
    hlr: tuple[float, ...] = ()
    """Hard-label recovery: what is lacking to the full data with hard labels, in [-1, 1]; lower is better."""
    lrs: tuple[float, ...] = ()
    """Label-robust score, in [0, 1]; higher is better."""
    ars: tuple[float, ...] = ()
    """Augmentation-robust score, in [0, 1]; higher is better."""
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with the mean of each score."""
        names = ("accuracy", "ior", "hlr", "lrs", "ars")
        means = {f"mean_{name}": fmean(values) for name in names if (values := getattr(self, name))}
        return {**{name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}, **means}


def improvement_over_random(synthetic: float, random: float) -> float:
    """IOR `= acc(synthetic) - acc(random)`: both trained alike, with labels of the same kind, in the same bytes.

    Raises `ConfigError` for accuracies outside [0, 1].
    """
    return _fraction(synthetic) - _fraction(random)


def hard_label_recovery(real: float, synthetic: float) -> float:
    """HLR `= acc(all real data, hard labels) - acc(synthetic rows, hard labels)`. Raises as the other."""
    return _fraction(real) - _fraction(synthetic)


def label_robust_score(ior: float, hlr: float, weight: float = 0.5) -> float:
    """LRS `= (e^a - e^-1) / (e - e^-1)` with `a = weight * IOR - (1 - weight) * HLR`, in [0, 1].

    Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation" (2025, https://arxiv.org/abs/2505.13300);
    authors' code: https://github.com/NUS-HPC-AI-Lab/DD-Ranking. With accuracies as fractions a is in [-1, 1] and the
    score in [0, 1]; a = 0 (no better than random, nothing lacking) gives 0.269. The authors' code feeds per cent into
    the exponential (a = -10 gives -0.16, a = 10 gives 9371); here that is refused. It also picks step size and epoch
    by test accuracy, for random rows always, for the judged rows only where none is given; here every accuracy is
    that after the last epoch, of one protocol or of equal trials on validation data.
    Raises `ConfigError` for scores outside [-1, 1] and a weight outside [0, 1].
    """
    _within(weight, 0, "weight")
    return _squashed(weight * _within(ior, -1, "IOR") - (1 - weight) * _within(hlr, -1, "HLR"))


def augmentation_robust_score(with_augmentation: float, without: float, gamma: float = 0.5) -> float:
    """ARS `= (e^b - e^-1) / (e - e^-1)` with `b = gamma * with + (1 - gamma) * without`, in [0, 1].

    `with_augmentation` and `without` are improvements over random, the random rows trained under the same
    augmentation. Paper and code as for `label_robust_score`. Raises `ConfigError` alike.
    """
    _within(gamma, 0, "gamma")
    mixed = gamma * _within(with_augmentation, -1, "IOR") + (1 - gamma) * _within(without, -1, "IOR")
    return _squashed(mixed)


def fair_scores(card: Scorecard, weight: float = 0.5) -> tuple[FairScore, ...]:
    """IOR, HLR and LRS of everything that was judged, from the entries that are there; nothing is trained.

    HLR needs the baselines "full" and, for a set with soft labels, "hard-labels"; IOR "random" for hard labels and
    "random+teacher" for soft ones, in the bytes of the set. Raises `ConfigError` for a weight outside [0, 1].
    """
    return tuple(_score(entry, card, weight) for entry in card.judged)


def fair_scores_of(matrix: Matrix, weight: float = 0.5, gamma: float = 0.5) -> tuple[FairScore, ...]:
    """The scores of `Matrix.first`, and ARS from its cells with augmentation and without.

    ARS needs the augmentation "none" and at least one other under which something is drawn, which for features is
    "mixup" alone; of several others the mean improvement counts. A set with stored views has none: it is shown those
    views whatever the augmentation, and only the random rows beside it would change.
    """
    scores = []
    for score in fair_scores(matrix.first, weight):
        values, missing = _augmented(matrix, score, gamma)
        joined = (*score.missing, *missing)
        scores.append(FairScore(**{**vars(score), "ars": values, "missing": joined}))
    return tuple(scores)


def table_of_scores(scores: Sequence[FairScore]) -> str:
    """Aligned text; accuracy, IOR and HLR in points of per cent, LRS and ARS as they are."""
    head = ("name", "network", "accuracy %", "over random", "lacking to full", "LRS", "ARS")
    body = [
        (s.label, s.network, _points(s.accuracy), _points(s.ior), _points(s.hlr), _plain(s.lrs), _plain(s.ars))
        for s in scores
    ]
    widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(widths[i]) if i < 2 else cell.rjust(widths[i]) for i, cell in enumerate(row))
        for row in (head, *body)
    ]
    told = dict.fromkeys(note for score in scores for note in score.missing)
    return "\n".join([*lines, *(f"note: {note}" for note in told)]) + "\n"


def _score(entry: Entry, card: Scorecard, weight: float) -> FairScore:
    soft = entry.label_kind != "hard"
    rival = "random+teacher" if soft else "random"
    random, full = _baseline(card, rival, entry.network), _baseline(card, "full", entry.network)
    hard = _baseline(card, f"{entry.name}/{HARD_LABELS}", entry.network) if soft else entry
    ior = _paired(improvement_over_random, entry, random) if random else ()
    hlr = _paired(hard_label_recovery, full, hard) if full and hard else ()
    lrs: tuple[float, ...] = ()
    if ior and hlr:
        alike = len(ior) == len(hlr)
        pairs = zip(ior, hlr, strict=True) if alike else [(fmean(ior), fmean(hlr))]
        lrs = tuple(label_robust_score(i, h, weight) for i, h in pairs)
    wanted = ((rival, random), ("full", full), (HARD_LABELS, hard))
    missing = tuple(
        f"{entry.label}: without the baseline {name} there is no LRS" for name, one in wanted if one is None
    )
    return FairScore(entry.label, entry.network, entry.nbytes, entry.last, rival, ior, hlr, lrs, (), missing)


def _augmented(matrix: Matrix, score: FairScore, gamma: float) -> tuple[tuple[float, ...], tuple[str, ...]]:
    if any(map(_has_views, matrix.scorecards.values())):
        return (), (f"{score.label}: there is no ARS of stored views, which are the same under every augmentation",)
    found: dict[str, tuple[float, ...]] = {}
    for name, card in matrix.scorecards.items():
        entry = next((e for e in card.judged if (e.label, e.network) == (score.label, score.network)), None)
        random = _baseline(card, score.random, score.network)
        if entry is not None and random is not None:
            found[name if _draws(card) else ""] = _paired(improvement_over_random, entry, random)
    without, others = found.pop("", ()), list(found.values())
    if not without or not others:
        more = "one more" if all(map(_of_images, matrix.scorecards.values())) else "mixup, as rows are features"
        need = f"--augment {WITHOUT} and {more}, and the baseline {score.random}"
        return (), (f"{score.label}: there is no ARS without {need}",)
    if len({len(values) for values in (without, *others)}) > 1:
        without, others = (fmean(without),), [(fmean(values),) for values in others]
    mean = [fmean(values) for values in zip(*others, strict=True)]
    return tuple(augmentation_robust_score(w, o, gamma) for w, o in zip(mean, without, strict=True)), ()


def _has_views(card: Scorecard) -> bool:
    """Whether the judged set is shown stored views; cards of earlier versions say so in the settings of the recipe."""
    told: Any = card.provenance
    for name in ("made", "settings", "labels", "views"):
        told = told.get(name) if isinstance(told, Mapping) else None
    return bool(card.provenance.get("views") or told)


def _draws(card: Scorecard) -> bool:
    """Whether anything is drawn in training: features are mixed, but never augmented, whatever the protocol says."""
    fit = card.protocol.get("fit")
    return isinstance(fit, dict) and bool(fit.get("mix") or (fit.get("augment") and _of_images(card)))


def _of_images(card: Scorecard) -> bool:
    return len(card.data.get("shape", (1, 1, 1))) == 3


def _baseline(card: Scorecard, name: str, network: str) -> Entry | None:
    return next((e for e in card.baselines if e.name == name and e.network == network), None)


def _paired(score: Any, first: Entry, second: Entry) -> tuple[float, ...]:
    """Seed by seed where the seeds are the same, else once for the means."""
    if first.seeds == second.seeds:
        return tuple(score(a, b) for a, b in zip(first.last, second.last, strict=True))
    return (score(first.mean, second.mean),)


def _squashed(value: float) -> float:
    return (math.exp(value) - math.exp(-1)) / (math.e - math.exp(-1))


def _fraction(accuracy: float) -> float:
    return _within(accuracy, 0, "accuracy")


def _within(value: float, low: int, name: str) -> float:
    if not low <= value <= 1:
        raise ConfigError(
            "computing a fair score",
            received=f"{name} {value}",
            expected=f"a fraction from {low} to 1",
            remedy="divide per cent by 100: an exponential of per cent is not a score",
        )
    return value


def _points(values: Sequence[float]) -> str:
    return statistics.show_percent(values) if values else "-"


def _plain(values: Sequence[float]) -> str:
    half = statistics.half_width(values) if values else None
    return "-" if not values else f"{fmean(values):.3f}" + ("" if half is None else f" ± {half:.3f}")

"""How much of a source's bias a compact set keeps, or adds: accuracy by group, of both, on the same test rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import nn

from decoct.analysis.finding import Chart, Finding, Series, estimate, shown
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset, Split
from decoct.errors import ConfigError, DataError
from decoct.evaluation.cells import Records
from decoct.evaluation.contender import Judged, Training
from decoct.evaluation.data_facts import data_facts, data_key
from decoct.evaluation.match import require_match
from decoct.evaluation.protocol import Protocol, protocol_from
from decoct.files import make_folder
from decoct.machine import hardware, library_versions, usable_device
from decoct.networks.build import default_network
from decoct.networks.build import network as build_network
from decoct.networks.identity import network_identity
from decoct.progress import Ticker, progress
from decoct.training.accuracy import predict
from decoct.training.job import Fitted
from decoct.trust.bias.group_scores import LEAST, GroupScores, any_large, require_both_kinds
from decoct.trust.bias.groups import Groups

Train = Callable[[int, Training, Ticker], Fitted]


@dataclass(frozen=True, eq=False)
class BiasExam:
    """Test rows with groups, and how networks that sit this exam are trained. Finished ones are kept in `out`."""

    data: Dataset
    groups: Groups
    protocol: Protocol
    network: str
    device: str
    records: Records
    anti: Split | None = None

    @classmethod
    def of(
        cls, data: Dataset, groups: Groups, *, anti: Split | None = None, protocol: str | Protocol = "quick",
        network: str | None = None, out: str | Path | None = None, device: str | None = None,
    ) -> BiasExam:  # fmt: skip
        """Check everything that can be checked before the first training; raises what `measure_bias` raises."""
        require_both_kinds(groups.aligned_in(data, data.test, "test"))
        name = network or default_network(data.spec.shape)
        build_network(name, data.spec.shape, data.spec.classes, 0)
        folder = None if out is None else make_folder(Path(out))
        return cls(data, groups, protocol_from(protocol), name, usable_device(device), Records(folder), anti)

    def scores(self, rows: str, train: Train, seeds: Sequence[int], tick: Ticker) -> list[GroupScores]:
        """Scores of networks trained by `train` on what `rows` names, one for each seed."""
        found, spec = [], self.data.spec
        name = network_identity(self.network, spec.shape, spec.classes)
        for place, seed in enumerate(seeds):
            key = {"rows": rows, "data": data_key(self.data), "protocol": self.protocol.hash,
                   "network": name, "seed": seed, "exam": self._key}  # fmt: skip
            known = self.records.find(key)
            if known is None:
                fitted = train(seed, self._training, lambda done, note="", place=place: tick(place + done, note))
                known = asdict(self._measured(fitted.module))
                self.records.keep(key, known)
            found.append(GroupScores(**known))
            tick(float(place + 1))
        return found

    def _measured(self, module: nn.Module) -> GroupScores:
        data, test = self.data, self.data.test
        attributes = self.groups.of(test, "test")
        anti = None if self.anti is None else float(self._right(module, self.anti).mean())
        return GroupScores.of(
            self._right(module, test), test.y, attributes, self.groups.aligned_in(data, test, "test"), anti
        )

    def _right(self, module: nn.Module, split: Split) -> Bool[NDArray[np.bool_], " n"]:
        return (predict(module, self.data, split).argmax(1) == split.labels()).numpy()

    @property
    def _key(self) -> list[str]:
        """What the answer depends on beside the data: the groups of the test rows, and the other test."""
        import hashlib

        told = self.groups.of(self.data.test, "test").tobytes()
        aligned = self.groups.aligned_in(self.data, self.data.test, "test").tobytes()
        anti = self.anti
        other = b"" if anti is None else np.ascontiguousarray(anti.x).tobytes() + np.asarray(anti.y, np.int64).tobytes()
        found = [hashlib.sha256(part).hexdigest()[:16] for part in (told, aligned, other)]
        # What was kept without this mark has the accuracy of a small group as the worst.
        return found if self.has_worst else [*found, "no large group"]

    @property
    def has_worst(self) -> bool:
        """Whether a group of the test rows is large enough to be the worst."""
        return any_large(self.data.test.y, self.groups.of(self.data.test, "test"))

    @property
    def _training(self) -> Training:
        shape, classes = self.data.spec.shape, self.data.spec.classes
        # The weights after the last pass are measured: validation rows are as biased as training rows.
        return Training(
            lambda seed: build_network(self.network, shape, classes, seed), self.data, self.protocol, self.device,
            lambda module, epoch: 0.0,
        )  # fmt: skip


def measure_bias(
    compact_set: CompactSet, data: Dataset, groups: Groups, *, anti: Split | None = None,
    protocol: str | Protocol = "quick", network: str | None = None, seeds: int = 5, out: str | Path | None = None,
    device: str | None = None,
) -> Finding:  # fmt: skip
    """Accuracy by group of networks trained on a set and on its whole source, and how much bias the set adds.

    `gap = accuracy(aligned) - accuracy(conflicting)`, `amplification = gap(set) - gap(source)`, paired by seed, on the
    same test rows, with Student's t intervals over seeds: above 0 the set amplifies the bias, below it suppresses it.
    Both are measured after the last pass. The test split of `data` should be unbiased; `groups` says which attribute
    its rows carry, `anti` are other test rows without any that carries the attribute of its class. With `out`, every
    finished network is kept there and never trained again.

    After "Exploring the Impact of Dataset Bias on Dataset Distillation" (2024), https://arxiv.org/abs/2403.16028 and
    "Mitigating Bias in Dataset Distillation" (2024), https://arxiv.org/abs/2406.06609, which report test accuracy
    alone. Raises `MismatchError` where set, data and groups do not belong together, `DataError` for a class that the
    set does not hold or a test of aligned rows only, `ConfigError` for no seeds, `UnknownNameError`, `OutputError`.
    """
    require_match(compact_set.spec, data.spec, "measuring the bias of a set on data")
    _require_classes(compact_set, data)
    if seeds < 1:
        raise ConfigError("measuring bias", received=f"seeds={seeds}", expected="1 or more", remedy="give 3 to 10")
    exam = BiasExam.of(data, groups, anti=anti, protocol=protocol, network=network, out=out, device=device)
    judged = Judged.of(compact_set)
    with progress("measuring bias", 2.0 * seeds) as tick:
        own = exam.scores(judged.key(0), judged.train, range(seeds), tick)
        whole = exam.scores(
            "full", lambda seed, training, t: training.on_all(seed, t), range(seeds),
            lambda done, note="": tick(seeds + done, note),
        )  # fmt: skip
    return _finding(judged.label, own, whole, exam, compact_set, seeds)


def amplification(own: Sequence[GroupScores], whole: Sequence[GroupScores]) -> list[float]:
    """For each seed the gap of the set minus that of the source."""
    return [mine.gap - its.gap for mine, its in zip(own, whole, strict=True)]


def _require_classes(compact_set: CompactSet, data: Dataset) -> None:
    missing = [data.spec.class_names[c] for c in range(data.spec.classes) if not bool((compact_set.classes == c).any())]
    if missing:
        raise DataError(
            "measuring the bias of a set",
            received=f"a set without rows of {len(missing)} of {data.spec.classes} classes, such as {missing[0]!r}",
            expected="rows of every class: the accuracy of a missing class says nothing about bias",
            remedy="make the set with a balanced budget, such as --ipc",
        )


SHOWN = ("test", "aligned", "conflicting", "worst", "balanced", "gap")


def _finding(
    label: str, own: list[GroupScores], whole: list[GroupScores], exam: BiasExam, compact_set: CompactSet, seeds: int
) -> Finding:
    columns = SHOWN if exam.anti is None else (*SHOWN, "anti")
    lines = {label: own, "all rows of the source": whole}
    rows = [
        {"trained on": name, **{c: _cell([getattr(s, c) for s in scores]) for c in columns}}
        for name, scores in lines.items()
    ]
    added = estimate(amplification(own, whole))
    kinds = {"aligned": "aligned", "conflicting": "conflicting"} | ({"worst": "worst group"} if exam.has_worst else {})
    places = tuple(float(place) for place in range(len(kinds)))
    series = [
        Series.of(name, places, [row[c] for c in kinds], line=False, quiet=place > 0)
        for place, (name, row) in enumerate(zip(lines, rows, strict=True))
    ]
    return Finding(
        name="bias",
        sentence=_sentence(label, rows, added),
        chart=Chart("test rows", "accuracy", tuple(series), percent=True, names=tuple(kinds.values())),
        rows=tuple(rows),
        percent=columns,
        notes=(
            "gap: aligned minus conflicting; worst: the lowest accuracy of a class with one attribute, of "
            f"{LEAST} test rows or more, which is low by chance alone where groups are many and small; balanced: mean "
            "over groups",
            "networks are measured after their last pass: validation rows carry the bias of the training rows",
            *([] if exam.has_worst else [f"worst is left blank: no class with one attribute has {LEAST} test rows"]),
        ),
        facts={
            "set": compact_set.content_hash, "made": compact_set.provenance.get("name"), "amplification": added,
            "network": exam.network, "seeds": list(range(seeds)), "protocol": exam.protocol.facts(),
            "data": data_facts(exam.data), "hardware": hardware(), "versions": library_versions(),
        },
    )  # fmt: skip


def _cell(values: Sequence[float | None]) -> dict[str, Any] | None:
    """The estimate, or a blank: a score that is missing is missing for every seed."""
    known = [value for value in values if value is not None]
    return estimate(known) if known else None


def _sentence(label: str, rows: Sequence[dict[str, Any]], added: dict[str, Any]) -> str:
    own, whole = (row["gap"] for row in rows)
    sure = added["low"] is not None and (added["low"] > 0 or added["high"] < 0)
    verb = ("amplifies" if added["mean"] > 0 else "suppresses") if sure else "neither clearly amplifies nor suppresses"
    return (
        f"Networks trained on {label} are {shown(own, True)} points better on rows that carry the attribute of their "
        f"class than on others, against {shown(whole, True)} for all rows of the source: the set {verb} the bias, by "
        f"{shown(added, True, True)} points."
    )

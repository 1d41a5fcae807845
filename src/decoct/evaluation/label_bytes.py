"""Accuracy against the bytes of the labels: one set of rows, its labels kept in many ways."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Shaped
from torch import Tensor

from decoct.compact.compact_set import CompactSet
from decoct.compact.soft_labels import index_type, keep_largest
from decoct.compact.stored import hard_label_bytes
from decoct.errors import ConfigError
from decoct.evaluation.bench import Bench
from decoct.evaluation.contender import Contender, Judged, Material, Training, Weight, at_temperature
from decoct.evaluation.match import require_match
from decoct.evaluation.scorecard import Kind, Scorecard
from decoct.progress import Ticker
from decoct.training.config import LabelKind
from decoct.training.job import Fitted

FILE_NAME = "label_bytes.json"
BITS = {"": 16, "-8bit": 8}
LEVELS = 255


@dataclass(frozen=True)
class Keeping:
    """One way of keeping labels: whose, how many entries of each row, in how many bits.

    Written "hard", or "own" (the set's labels) or "teacher" (those of a network trained on the real data), then
    "-top3" for the three largest entries of each row, then "-8bit"; without these all entries in fp16.
    """

    name: str
    source: str
    """"hard", "own" or "teacher"."""
    k: int | None = None
    """Entries kept of each row; none keeps all."""
    bits: int = 16

    @classmethod
    def read(cls, name: str, classes: int) -> Keeping:
        """The way of that name; raises `ConfigError` for a name that cannot be read and for more entries than classes.

        A top-k of all classes is all of them, without class numbers.
        """
        found = re.fullmatch(r"hard|(own|teacher)(?:-top(\d+))?(-8bit)?", name)
        k = int(found.group(2)) if found and found.group(2) else None
        if found is None or (k is not None and not 1 <= k <= classes):
            raise ConfigError(
                "keeping labels in few bytes",
                received=repr(name),
                expected=f'"hard", "own", "teacher", each of the last two with -top1 to -top{classes} and -8bit',
                remedy="write for example own-top3-8bit",
            )
        return cls(name, found.group(1) or "hard", None if k == classes else k, BITS[found.group(3) or ""])

    def nbytes(self, rows: int, classes: int) -> int:
        """Bytes of the labels: one a hard label (two above 256 classes); each entry its value, and its class number
        where not all are kept.
        """
        if self.source == "hard":
            return hard_label_bytes(rows, classes)
        number = 0 if self.k is None else index_type(classes).itemsize
        return rows * (self.k or classes) * (self.bits // 8 + number)

    def kept(self, probabilities: Float[Tensor, "m C"]) -> Float[Tensor, "m C"]:
        """The labels after storing and reading: the largest entries, rounded, each row with sum 1 again.

        8 bits: `round(255 p / max p)` in each row; the scale need not be stored, since rows are made to sum to 1.
        """
        largest = keep_largest(probabilities.float(), self.k)
        if self.bits == 8:
            rounded = (largest / largest.amax(1, keepdim=True) * LEVELS).round()
        else:
            rounded = largest.half().float()
        return rounded / rounded.sum(1, keepdim=True)


def ways(classes: int, sources: Sequence[str] = ("own",)) -> tuple[str, ...]:
    """The usual names: hard, then for each source top-k with k = 1, 2, 4, ... below the classes, and all, in both
    precisions.
    """
    powers = [2**power for power in range(classes.bit_length()) if 2**power < classes]
    kept = [*(f"-top{k}" for k in powers), ""]
    return ("hard", *(f"{source}{k}{bits}" for source in sources for bits in BITS for k in kept))


def keepings(compact_set: CompactSet, names: Sequence[str] | None = None) -> list[Keeping]:
    """The ways of these names, or the usual ones of a set without names or for the name "usual", each once; nothing is
    trained.

    Raises `ConfigError` for a name that cannot be read, for "own" ways of a set with hard labels, and for top-k or
    8 bits of scores (regression targets of any sign, of which the largest are not a distribution).
    """
    classes = compact_set.spec.classes
    usual = ways(classes, ("own",) if compact_set.label_kind == "probabilities" else ("teacher",))
    asked = [one for name in names or ("usual",) for one in (usual if name == "usual" else (name,))]
    kept = [Keeping.read(name, classes) for name in dict.fromkeys(asked)]
    for one in kept:
        _require_possible(one, compact_set)
    return kept


def label_bytes(compact_set: CompactSet, bench: Bench, names: Sequence[str] | None = None) -> Scorecard:
    """Judge the rows of `compact_set` under each way of keeping their labels: one entry a way, beside no baseline.

    Its own soft labels are probabilities, or scores turned into a hard class for "hard" and used whole otherwise.
    "teacher" labels come from the bench's teacher for as many rows, chosen on validation data; they never saw the
    rows' own labels. Cells are kept as for any other contender.

    Cost: one training a way, network and seed. Raises what `keepings` raises, and `MismatchError` where set and data
    do not belong together.
    """
    kept = keepings(compact_set, names)
    require_match(compact_set.spec, bench.data.spec)
    entries = bench.entries([Kept.of(compact_set, one, bench) for one in kept])
    made = {"content_hash": compact_set.content_hash, "made": compact_set.provenance, **bench.provenance}
    return bench.scorecard(entries, {**made, "ways": [one.name for one in kept]}, ())


@dataclass(frozen=True, eq=False)
class Kept(Contender):
    """The rows of a set with labels kept in one way; views give way to the rows as they are."""

    compact_set: CompactSet
    keeping: Keeping
    bench: Bench
    name: str
    label: str
    weight: Weight
    kind: Kind = "judged"
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, compact_set: CompactSet, keeping: Keeping, bench: Bench) -> Kept:
        own = Judged.of(compact_set).weight
        labels = keeping.nbytes(own.rows, compact_set.spec.classes)
        kind: LabelKind = "probabilities"
        if keeping.source == "hard":
            kind = "hard"
        elif keeping.source == "own":
            kind = compact_set.label_kind
        weight = Weight(own.images, labels, own.decoder, own.rows, kind)
        return cls(compact_set, keeping, bench, f"labels/{keeping.name}", keeping.name, weight)

    def key(self, seed: int) -> str:
        source = self.keeping.source
        more = f"/{self.bench.teacher.key}" if source == "teacher" else ""
        more = at_temperature(self.compact_set) if source == "own" else more
        return f"set/{self.compact_set.content_hash}/labels {self.keeping.name}{more}"

    def train(self, seed: int, training: Training, tick: Ticker) -> Fitted:
        inputs, targets, weights = self.compact_set.materialize()
        if self.keeping.source == "teacher":
            self.bench.teacher.prepare(tick)
        targets = self._targets(inputs, targets)
        own = self.keeping.source == "own"
        temperature, class_weight = (self.compact_set.temperature, self.compact_set.class_weight) if own else (1.0, 0.0)
        classes = self.compact_set.classes
        material = Material(
            inputs, targets, weights, self.weight.label_kind, temperature=temperature, classes=classes,
            class_weight=class_weight,
        )  # fmt: skip
        return training.on(material, seed, tick)

    def _targets(self, inputs: Float[Tensor, "m ..."], targets: Shaped[Tensor, "m ..."]) -> Shaped[Tensor, "m ..."]:
        if self.keeping.source == "hard":
            return self.compact_set.classes
        if self.keeping.source == "teacher":
            return self.keeping.kept(self.bench.teacher.probabilities(inputs))
        return self.keeping.kept(targets) if self.weight.label_kind == "probabilities" else targets


def _require_possible(keeping: Keeping, compact_set: CompactSet) -> None:
    kind = compact_set.label_kind
    whole = keeping.k is None and keeping.bits == 16
    if keeping.source == "own" and (kind == "hard" or (kind == "scores" and not whole)):
        raise ConfigError(
            f"keeping the labels of a set as {keeping.name!r}",
            received=f"a set with {kind} labels",
            expected="probabilities" + (", or scores kept whole" if kind == "scores" else ""),
            remedy='choose "hard" or "teacher" ways' + (', or "own"' if kind == "scores" else ""),
        )

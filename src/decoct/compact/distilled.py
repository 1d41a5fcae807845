"""A result made of rows that never existed: stored tensors, a decoder's name, and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64, Integer, Shaped
from torch import Tensor

from decoct.compact.compact_set import Bytes, CompactSet, LabelKind
from decoct.compact.decoders import DECODERS, belongs_to_decoder, query_bases, row_count
from decoct.compact.soft_labels import INDICES, VALUES, WHOLE, encode, soft_label_bytes
from decoct.compact.stored import hard_label_bytes, narrow, require
from decoct.compact.views import Views
from decoct.data.dataset import DataSpec

RESERVED_TENSORS = frozenset({WHOLE, VALUES, INDICES, "classes"})
"""Names that a storage must not use for its own tensors."""


@dataclass(frozen=True, eq=False)
class DistilledSet(CompactSet):
    """Synthetic rows. What is held here is exactly what is saved: soft labels are float16 from the start.

    Sizes that do not fit together raise `ConfigError`, so the annotations leave them open; an unknown storage raises
    `UnknownNameError`.
    """

    spec: DataSpec
    """What it was distilled from."""
    storage: str
    """Which decoder of `decoct.compact.decoders` reads the tensors."""
    config: dict[str, Any]
    """The decoder's settings, plain JSON."""
    tensors: dict[str, Tensor]
    """The stored tensors."""
    labels: Shaped[Tensor, "_ ..."]
    """Class numbers `[m]` (hard), or probabilities or scores `[m, C]`; `[V, m, C]` where there are V views."""
    label_kind: LabelKind
    """What the labels are: "hard", "probabilities" or "scores"."""
    classes: Int64[Tensor, " _"]
    """The class each row stands for, `[m]`."""
    learned: dict[str, Any]
    """Training settings that were learned or assumed with the rows (step size, augmentation), plain JSON.
    `views` in it are the settings of `compact.views.Views`: then every view has its own labels."""
    provenance: dict[str, Any]
    """How it was made, plain JSON."""
    top_k: int | None = None
    """How many entries of every row of probabilities are stored, the others being 0; none stores all of them."""

    def __post_init__(self) -> None:
        held = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        labels = self.labels.detach().cpu()
        labels = labels.half() if labels.is_floating_point() else labels.long()
        for name, value in (("tensors", held), ("labels", labels), ("classes", self.classes.detach().cpu())):
            object.__setattr__(self, name, value)
        self._check_labels()
        self._check_tensors()

    def _check_labels(self) -> None:
        what, count, number = "making a DistilledSet", len(self.classes), self.spec.classes
        expected_shape = (count,) if self.label_kind == "hard" else (count, number)
        if self.views is not None:
            expected_shape = (self.views.count, count, number)
        known = self.label_kind in ("hard", "probabilities", "scores")
        require(known, what, f"label kind {self.label_kind!r}", "'hard', 'probabilities' or 'scores'")
        fits = tuple(self.labels.shape) == expected_shape and count > 0
        fits = fits and self.labels.is_floating_point() == (self.label_kind != "hard")
        kind = f"{self.label_kind} labels {expected_shape}, at least one, one for each entry of classes"
        require(fits, what, f"{self.labels.dtype} labels of shape {tuple(self.labels.shape)}", kind)
        for name, values in (("classes", self.classes), ("labels", self.labels)):
            if not values.is_floating_point():
                low, top = int(values.min()), int(values.max())
                span = f"class numbers from 0 to {number - 1}"
                require(low >= 0 and top < number, what, f"{name} from {low} to {top}", span)
        finite = bool(torch.isfinite(self.labels).all())
        require(finite, what, "NaN or infinite labels", "labels that are finite in float16 (at most 65504)")
        if self.label_kind == "probabilities":
            sums = self.labels.float().sum(-1)
            valid = bool((self.labels >= 0).all()) and bool((sums - 1).abs().max() <= 0.01)
            received = f"rows that sum to {float(sums.min()):.4g} up to {float(sums.max()):.4g}"
            require(valid, what, received, "probabilities: no entry below 0, each row with sum 1")
        if self.top_k is not None:
            most = int((self.labels != 0).sum(-1).max())
            fits = self.label_kind == "probabilities" and most <= self.top_k <= number
            received = f"top_k {self.top_k} of {self.label_kind} labels with up to {most} entries other than 0"
            require(fits, what, received, f"probabilities, and a top_k from {most} to {number}")

    def _check_tensors(self) -> None:
        what, count = "making a DistilledSet", len(self.classes)
        clash = sorted(n for n in self.tensors if n in RESERVED_TENSORS or n.startswith("transform."))
        require(not clash, what, f"tensors named {clash}", "names other than labels, classes and transform.*")
        decoder = DECODERS.load(self.storage)
        rows = row_count(self.storage, self.tensors, self.config)
        require(rows in (None, count), what, f"{rows} stored rows", f"{count}, one for each label")
        finite = all(bool(torch.isfinite(tensor).all()) for tensor in self.tensors.values())
        require(finite, what, "NaN or infinite values in the stored tensors", "finite values")
        ends = decoder(self.tensors, self.config, torch.tensor([0, count - 1]))
        expected = (2, *self.spec.shape)
        fits = tuple(ends.shape) == expected and ends.dtype == torch.float32 and bool(torch.isfinite(ends).all())
        received = f"{ends.dtype} of shape {tuple(ends.shape)} for two rows"
        require(fits, what, received, f"finite torch.float32 rows of shape {expected}")

    def decode(self, rows: Integer[Tensor, " r"] | None = None) -> Float[Tensor, "r ..."]:
        """Network inputs float32 of all rows `[m, ...]`, or of `rows`."""
        return DECODERS.load(self.storage)(self.tensors, self.config, rows)

    def query(self, vector: Float[Tensor, " _"]) -> Float[Tensor, "r ..."]:
        """Network inputs that a vector over the classes addresses, of a set stored as `bases`: one for each row of a
        class. A one-hot vector gives the rows of its class, a mixture of classes the mixture of their rows.

        Raises `ConfigError` for another storage, for classes of unlike size, and for a vector of another length.
        """
        what, count = "querying a set", self.spec.classes
        told = "storage='bases' when the set is distilled"
        require(self.storage == "bases", what, f"storage {self.storage!r}", f"'bases': a query wants {told}")
        even = torch.arange(count).repeat_interleave(max(1, len(self) // count))
        require(
            torch.equal(self.classes, even), what, "rows of some classes only", "as many rows of every class in turn"
        )
        require(len(vector) == count, what, f"a vector of {len(vector)} entries", f"{count}, one for each class")
        return query_bases(self.tensors, self.config, vector)

    def materialize(
        self,
    ) -> tuple[Float[Tensor, "m ..."], Int64[Tensor, " m"] | Float[Tensor, "m C"], Float[Tensor, " m"]]:
        """Network inputs, targets and weights (all 1). Probabilities are scaled to sum to 1 after float16.

        A set of views gives its rows as they are, with the mean of their labels over the views.
        """
        weights = torch.ones(len(self))
        if self.label_kind == "hard":
            return self.decode(), self.labels, weights
        targets = self._targets(self.labels)
        return self.decode(), targets if self.views is None else targets.mean(0), weights

    def _targets(self, labels: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
        targets = labels.float()
        return targets / targets.sum(-1, keepdim=True) if self.label_kind == "probabilities" else targets

    @property
    def views(self) -> Views | None:
        """The views whose labels are stored, None for a set without."""
        return Views.of(self.learned["views"]) if "views" in self.learned else None

    @property
    def temperature(self) -> float:
        """That of the teacher whose probabilities the labels are, 1 where none is told.

        Raises `ConfigError` for one that is not a positive number.
        """
        told = self._of_teacher("temperature", 1.0) if self.label_kind == "probabilities" else 1.0
        fits = _is_number(told) and told > 0
        require(fits, "reading the temperature of soft labels", repr(told)[:200], "a positive number")
        return float(told)

    @property
    def class_weight(self) -> float:
        """How much the cross-entropy of `classes` weighs beside the squared error of scores; 0 where that is not told.

        Raises `ConfigError` for a weight that is not a number of at least 0.
        """
        told = self._of_teacher("class_weight", 0.0) if self.label_kind == "scores" else 0.0
        fits = _is_number(told) and told >= 0
        require(fits, "reading the weight of the class beside scores", repr(told)[:200], "a number of at least 0")
        return float(told)

    def _of_teacher(self, name: str, usual: float) -> Any:
        teacher = self.learned.get("teacher")
        return teacher.get(name, usual) if isinstance(teacher, Mapping) else usual

    def view(self, number: int) -> tuple[Float[Tensor, "m ..."], Float[Tensor, "m C"]]:
        """Inputs `[m, ...]` and targets `[m, C]` of view `number`, from 0, replayed from the seed of the set.

        Raises `ConfigError` for a view that is not there.
        """
        views = self.views
        require(
            views is not None, "replaying a view of a set", "a set without views", "labels that were made for views"
        )
        assert views is not None
        return views.replay(number, self.decode()), self._targets(self.labels[number])

    @property
    def nbytes(self) -> Bytes:
        """Stored tensors as they are; a byte a hard label (two above 256 classes), two an entry of soft labels.

        With `top_k` only the entries kept are counted, with a byte for the class number of each (two above 256).
        """
        sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in self.tensors.items()}
        decoder = sum(size for name, size in sizes.items() if belongs_to_decoder(name))
        soft = soft_label_bytes(self.labels.numel(), self.spec.classes, self.top_k)
        labels = hard_label_bytes(len(self), self.spec.classes) if self.label_kind == "hard" else soft
        return Bytes(sum(sizes.values()) - decoder, labels, decoder)

    def stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        hard = self.label_kind == "hard"
        labels = {WHOLE: narrow(self.labels, self.spec.classes)} if hard else encode(self.labels, self.top_k)
        tensors = {**self.tensors, **labels, "classes": narrow(self.classes, self.spec.classes)}
        return tensors, {
            "label_kind": self.label_kind,
            "storage": self.storage,
            "config": self.config,
            "learned": self.learned,
        }


def _is_number(value: Any) -> bool:
    """Whether it is a finite number; True and False are none."""
    return isinstance(value, float | int) and not isinstance(value, bool) and abs(value) < float("inf")

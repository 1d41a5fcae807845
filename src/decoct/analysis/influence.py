"""Influence: what does each image of the set teach, and what do the test images that learn it share?"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.analysis import stacked
from decoct.analysis.finding import Chart, Finding, Series, estimate, shown
from decoct.analysis.routine import Routine
from decoct.analysis.shared import Shared, shared_by
from decoct.analysis.study import Analysis, Study, as_kind, require_setting
from decoct.analysis.substitutability import features_of
from decoct.compact.preview import png_bytes
from decoct.errors import ConfigError
from decoct.evaluation.contender import Material
from decoct.streams import Streams, derive_seed

_TILE = 48
_TILES = 8


@dataclass(frozen=True)
class Influence(Analysis):
    """`I[j, i] = loss_i(trained without j) - loss_i(trained on all)`: positive where image j of the set helps row i.

    Paper: "What is Dataset Distillation Learning?", Yang, Zhu, Deng & Russakovsky, ICML 2024,
    https://arxiv.org/abs/2406.04284; code of the authors:
    https://github.com/princetonvisualai/What-is-Dataset-Distillation-Learning. Retraining itself, not its linear
    approximation: m + 1 trainings from the same start, whole set a step, losses of `test_rows` test rows in nats, or in
    squared error where labels are scores (with the cross-entropy of the class where the set weighs it).
    Where the paper asks a language model for captions, the most helped rows of each image are compared with random
    rows of the same classes: how alike their features are, and which plain trait they share (`analysis.shared`).

    Shapes: `I` `[m, test_rows]` for each seed. Cost O(seeds m steps m) passes, as one stacked model where that is
    faster; memory of the weights of m + 1 copies and the activations of `stack`. Differs from the official code:
    several seeds, so that an image's effect has an interval; a row is left out by a weight of 0, so that all copies can
    be one model.
    """

    test_rows: int = 1000
    """Test rows whose losses are looked at, drawn once."""
    top: int = 20
    """Rows that each image helps most, whose common traits are looked for."""
    shown: int = 6
    """Images of the set that the page shows with the rows they help most."""
    how: Literal["auto", "stacked", "in turn"] = "auto"
    """Train the copies as one stacked model, in turn, or as the size of a step says."""
    stack: int = 128
    """Copies in one stacked model, at most where `how` is "auto"."""
    epochs: int = 5
    """Passes of the network of real data whose features say what is alike."""
    routine: Routine = field(default_factory=Routine)
    """How every copy is trained; its batch is the whole set."""
    name = "influence"

    def __post_init__(self) -> None:
        for setting in ("test_rows", "top", "stack", "epochs"):
            value = getattr(self, setting)
            require_setting(self.name, setting, value >= 1, value, "at least 1")
        require_setting(
            self.name, "how", self.how in ("auto", "stacked", "in turn"), self.how, "auto, stacked, in turn"
        )

    def run(self, study: Study) -> Finding:
        if len(study.compact_set) < 2:
            raise ConfigError(
                "leaving out each image of a set",
                received="a set of one row",
                expected="at least two rows, so that something is left",
                remedy="analyse a larger set",
            )
        stacked.require_separate_rows(study.build(0))
        chosen = self._rows(study)
        found, told = [], []
        for place, seed in enumerate(study.seeds):
            study.tick(place / len(study.seeds), f"seed {seed}")
            key = {"seed": seed, **stacked.class_weight_key(study.compact_set)}
            settings = _Key(self.test_rows, self.how, self.stack, self.routine)
            cell = study.once(self.name, settings, key, lambda s=seed: self._retrain(study, s, chosen))
            found.append(_unpacked(cell))
            told.append(cell)
        truth = study.data.test.labels(chosen)
        features = features_of(
            study.expert(self.epochs, study.seeds[0]).module, study.data.inputs(study.data.test, chosen), study.device
        )
        pictures = study.data.test.raw(chosen) if study.data.spec.is_image else None
        share = [
            shared_by(matrix, study.compact_set.classes, truth, features, pictures, self.top, seed)
            for matrix, seed in zip(found, study.seeds, strict=True)
        ]
        effects = [_effects(matrix, study.compact_set.classes, truth) for matrix in found]
        rows = self._table(study, effects, share)
        return Finding(
            self.name, self._sentence(effects, share, truth, study), _chart(effects, _unit(study)), rows,
            percent=("most helped: same class",), notes=self._notes(told, study), facts=study.facts(self),
            pictures=self._pictures(study, torch.stack(found).mean(0), effects, chosen),
        )  # fmt: skip

    def _rows(self, study: Study) -> Int64[Tensor, " n"]:
        order = torch.randperm(len(study.data.test), generator=Streams(derive_seed(0, "analysis"))("test rows"))
        return order[: self.test_rows].sort().values

    def _retrain(self, study: Study, seed: int, chosen: Int64[Tensor, " n"]) -> dict[str, Any]:
        material, data, device = study.material(), study.data, study.device
        losses, targets = stacked.loss_rows(material)
        inputs, targets = material.inputs.to(device), targets.to(device)
        count = len(inputs)
        base = torch.ones(count) if material.weights is None else material.weights
        weights = torch.cat([base[None], base * (1 - torch.eye(count))]).to(device)
        module = study.build(derive_seed(seed, "analysis")).to(device)
        stack = {"stacked": self.stack, "in turn": 0}.get(self.how)
        if stack is None:
            stack = stacked.copies_at_once(module, data.spec.shape, count, device, self.stack)
        start = time.perf_counter()
        thetas = stacked.train_copies(module, inputs, targets, weights, self.routine, losses=losses, stack=stack)
        seconds = time.perf_counter() - start
        truth = data.test.labels(chosen)
        kind = material.label_kind
        judged = Material(
            data.inputs(data.test, chosen, device), as_kind(truth, kind, study.classes), None, kind,
            classes=truth, class_weight=material.class_weight,
        )  # fmt: skip
        losses, targets = stacked.loss_rows(judged)
        found = stacked.losses_of_copies(module, thetas, judged.inputs, targets.to(device), losses).cpu()
        return {
            "influence": _packed(found[1:] - found[0]), "rows": [count, len(chosen)], "seconds": seconds,
            "how": "stacked" if stack else "in turn",
        }  # fmt: skip

    def _table(self, study: Study, effects: list[Tensor], share: list[Shared]) -> tuple[dict[str, Any], ...]:
        names, nominal = study.data.spec.class_names, study.compact_set.classes.tolist()
        order = torch.stack(effects).mean(0)[0].argsort(descending=True).tolist()
        return tuple(
            {
                "image": j, "class": names[nominal[j]],
                "effect on its class": _told([float(e[0, j]) for e in effects]),
                "effect on other classes": _told([float(e[1, j]) for e in effects]),
                "most helped: same class": estimate([one.same_class[j] for one in share]),
                "times more alike": estimate([one.alike[j] for one in share]),
                "shared trait": share[0].traits[j] if study.data.spec.is_image else None,
            }
            for j in order
        )  # fmt: skip

    def _sentence(self, effects: list[Tensor], share: list[Shared], truth: Int64[Tensor, " n"], study: Study) -> str:
        own = estimate([float(e[0].nanmean()) for e in effects])
        other = estimate([float(e[1].nanmean()) for e in effects])
        same = estimate([fmean(one.same_class) for one in share])
        alike = estimate([fmean(one.alike) for one in share])
        chance = fmean(float((truth == c).float().mean()) for c in range(study.classes))
        likeness = f"{shown(alike)} times as alike as random ones of the same classes"
        end = f" and {likeness}"
        if study.data.spec.is_image:
            traits = fmean(fmean(trait != "none" for trait in one.traits) for one in share)
            end = f", {likeness}, and {100 * traits:.0f} % of these groups share a plain trait"
        return (
            f"Leaving out one image changes the loss on its own class by {shown(own, sign=True)} {_unit(study)} a test "
            f"image and on the others by {shown(other, sign=True)}; of the {self.top} test images it helps most "
            f"{shown(same, True)} % are of its class (by chance {100 * chance:.0f} %){end}."
        )

    def _notes(self, told: list[dict[str, Any]], study: Study) -> tuple[str, ...]:
        seconds = fmean(cell["seconds"] for cell in told)
        notes = [f"{len(study.compact_set) + 1} trainings, {told[0]['how']}, in {seconds:.1f} s a seed"]
        if study.material().replay is not None:
            notes.append("the set has labels for views; here its rows are taught as they are, with their mean labels")
        return tuple(notes)

    def _pictures(
        self, study: Study, mean: Float[Tensor, "m n"], effects: list[Tensor], chosen: Int64[Tensor, " n"]
    ) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The images with the largest effects, one a class as far as there are, and the rows they help most."""
        if not study.data.spec.is_image or not self.shown:
            return ()
        own, nominal = study.compact_set.pictures(), study.compact_set.classes.tolist()
        found, seen = [], set()
        for j in torch.stack(effects).mean(0)[0].nan_to_num(-1e9).argsort(descending=True).tolist():
            if nominal[j] in seen or len(found) == self.shown:
                continue
            seen.add(nominal[j])
            rows = chosen[mean[j].argsort(descending=True)[:_TILES]]
            real = study.data.test.raw(rows).permute(0, 2, 3, 1)
            tiles = tuple(_tile(picture) for picture in (own[j], *real))
            found.append((f"image {j} ({study.data.spec.class_names[nominal[j]]}), then what it helps most", tiles))
        return tuple(found)


@dataclass(frozen=True)
class _Key:
    """The settings that finished losses depend on: what the page shows of them can change."""

    test_rows: int
    how: str
    stack: int
    routine: Routine


def _effects(matrix: Float[Tensor, "m n"], nominal: Int64[Tensor, " m"], truth: Int64[Tensor, " n"]) -> Tensor:
    """`[2, m]`: mean influence of each image on the rows of its own class (NaN without any) and on all others."""
    own = nominal[:, None] == truth[None]
    return torch.stack([torch.where(mask, matrix, torch.nan).nanmean(1) for mask in (own, ~own)])


def _told(values: list[float]) -> dict[str, Any] | None:
    return None if any(np.isnan(values)) else estimate(values)


def _unit(study: Study) -> str:
    """What losses are measured in: scores are regression targets."""
    if study.compact_set.label_kind != "scores":
        return "nats"
    return "of squared error" + (" with the class" if study.compact_set.class_weight else "")


def _chart(effects: list[Tensor], unit: str) -> Chart:
    mean = torch.stack(effects).mean(0)
    order = [j for j in mean[0].nan_to_num(-1e9).argsort(descending=True).tolist() if not torch.isnan(mean[:, j]).any()]
    ranks = [float(rank) for rank in range(1, len(order) + 1)]
    series = tuple(
        Series.of(
            label, ranks, [estimate([float(e[part, j]) for e in effects]) for j in order], line=False, quiet=quiet
        )
        for part, label, quiet in ((0, "on its own class", False), (1, "on other classes", True))
    )
    changed = f"loss of test images without it, change in {unit.removeprefix('of ')}"
    return Chart("images of the set, most helpful first", changed, series)


def _packed(matrix: Float[Tensor, "m n"]) -> str:
    return base64.b64encode(matrix.contiguous().numpy().astype("<f4").tobytes()).decode()


def _unpacked(cell: dict[str, Any]) -> Float[Tensor, "m n"]:
    values = np.frombuffer(base64.b64decode(cell["influence"]), dtype="<f4").astype(np.float32)
    return torch.from_numpy(values).view(*cell["rows"])


def _tile(picture: Tensor) -> str:
    thin = -(-max(picture.shape[:2]) // _TILE)
    return base64.b64encode(png_bytes(picture[::thin, ::thin].contiguous())).decode()

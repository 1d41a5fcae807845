"""DEEPDISTAL: a real-or-fake image set made small by active learning, with the detector's AUC against the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from decoct.cards import MethodCard
from decoct.errors import ConfigError
from decoct.selection.active import Active, Strategy
from decoct.selection.sources import Sources
from decoct.training.accuracy import predict
from decoct.training.roc import against_rest

CARD = MethodCard(
    name="deepdistal",
    line="active learning for real-or-fake images: uncertain and different rows, AUC and EER of every round recorded",
    axes="real rows · uncertainty and diversity in rounds · hard labels",
    paper="Rana, Nobi, Sung, DeepDistAL: Deepfake Dataset Distillation using Active Learning, 2024",
    link="https://doi.org/10.1109/CVPRW63382.2024.00768",
    bibtex="""@inproceedings{rana2024deepdistal,
  title = {DeepDistAL: Deepfake Dataset Distillation using Active Learning},
  author = {Rana, Md Shohel and Nobi, Mohammad Nur and Sung, Andrew H.},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops},
  pages = {7723--7730},
  year = {2024},
  doi = {10.1109/CVPRW63382.2024.00768}
}""",
)


@dataclass(frozen=True)
class DeepDistal(Active):
    """Rounds of: train a detector on what is chosen, measure it on validation, add uncertain rows that differ.

    B_t = k-center greedy, given the chosen rows, among the `spread` |B_t| rows of largest u(x) = 1 - |p_real - p_fake|
    under the detector trained on B_1..B_{t-1}, and a share `explore` of it at random; the rounds go on until the budget
    is spent. A round is *enough* when none of the `patience` rounds after it raised validation AUC by `min_gain`.

    Paper: Rana, Nobi, Sung, "DeepDistAL" (2024), https://doi.org/10.1109/CVPRW63382.2024.00768; no code of the
    authors is known and little of their schedule is published, so the loop is that of `Active`, whose settings,
    shapes, weights and scores hold here too. With two classes all strategies of a single network rank rows alike.
    The coreset's provenance records for every round the rows trained on, AUC and equal error rate (EER) on the
    validation split, and at the end `enough`: how many of the first rows, in the order of choosing, the detector
    needed. `core.take(torch.arange(enough))` is that smaller set. AUC in [0, 1]; with more than two classes it is the
    mean of each class against the rest.
    Equal rows are at distance 0 and so are the last that diversity takes: near duplicates (frames of a video) need no
    filter before. What leaks is the split: cut it by person, video or source, `data.groups.split_by_group`.
    Half of every batch is random by default, which did better on validation data (CIFAKE, one draw) than uncertain rows
    alone. On the test data of CIFAKE it is below random rows at 500 and not told apart from them at 1,000 and 2,000:
    it pays where labels cost more than images.
    Cost: as `Active`, and one pass over the validation split a round.
    Differs from the paper, as far as that is known, by stopping at a budget and saying what would have been enough,
    so that budgets can be compared, and by counting every training of the loop in the seconds of the result.
    """

    rounds: int = 5
    """Batches after the random start, from 1; each costs a training."""
    strategy: Strategy = "margin"
    """What uncertainty is, as in `Active`; vote-entropy and disagreement ask a committee."""
    explore: float = 0.5
    """Share of every batch that is drawn at random, from 0 to 1."""
    patience: int = 2
    """Rounds without a gain after which a round counts as enough, from 1."""
    min_gain: float = 0.002
    """Gain in validation AUC that counts as one, in [0, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patience < 1 or not 0 <= self.min_gain <= 1 or math.isnan(self.min_gain):
            raise ConfigError(
                "setting when deepdistal has enough",
                received=f"patience={self.patience}, min_gain={self.min_gain}",
                expected="1 round or more, and a gain in AUC from 0 to 1",
                remedy="keep the defaults, patience=2 and min_gain=0.002",
            )

    def measured(self, modules: list[nn.Module], sources: Sources) -> dict[str, Any]:
        data = sources.data
        said = [predict(module, data, data.val).log_softmax(1) for module in modules]
        area, rate = against_rest(torch.stack(said).mean(0), data.val.labels())
        return {"val_auc": round(area, 6), "val_eer": round(rate, 6)}

    def closed(self, record: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"enough": enough(record, self.patience, self.min_gain)}]


def enough(record: list[dict[str, Any]], patience: int, min_gain: float) -> int | None:
    """Rows of the first round after which AUC did not rise by `min_gain` for `patience` rounds; None where it did."""
    seen = [(part["trained_on"], part["val_auc"]) for part in record if "val_auc" in part]
    for place in range(len(seen) - patience):
        rows, area = seen[place]
        if max(later for _, later in seen[place + 1 : place + 1 + patience]) < area + min_gain:
            return rows
    return None

"""Views of a set that are replayed by seed: augmented rows whose labels are stored, while the rows are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.augment.mixing import cutmix, mixup
from decoct.augment.resized_crop import draw_boxes, resized_crop
from decoct.augment.siamese import Siamese
from decoct.compact.stored import require
from decoct.errors import ConfigError
from decoct.streams import derive_seed

_WHAT = "replaying the views of a set"
_UNSAID = 0.5
"""How often views are mixed by CutMix where a set does not say so: those stored before it was said were mixed thus."""


@dataclass(frozen=True)
class Views:
    """`count` augmented views of the same rows; view v is a function of `seed`, v and the rows, and of nothing else.

    A fast version of stored relabelling ("A Fast Knowledge Distillation Framework for Visual Recognition", Shen and
    Xing, ECCV 2022, https://arxiv.org/abs/2112.01528, as used by SRe2L): there the crop, the flip and the partner of
    every row of every pass are stored beside its label, and the student must keep batches and their order. Here one
    integer stands for all of them, and the student may cut a view into any batches.

    Every row gets its own family and parameters. All draws come from a generator on the CPU.
    """

    count: int
    """How many views there are, 1 or more."""
    seed: int
    """From which all of them are drawn; from 0 up to, not including, 2^53, so that any JSON reader keeps it."""
    strategy: str = ""
    """Siamese strategy, families joined by underscores; none if empty."""
    mix: Literal["", "mixup", "cutmix"] = ""
    """Mix pairs of rows after that, one share and one box a view."""
    mix_alpha: float = 1.0
    """Both parameters of the beta distribution of that share."""
    crop: float = 1.0
    """Smallest share of the area that a random resized crop of every row keeps, before all else, in (0, 1]; 1: none."""
    mix_probability: float = 1.0
    """How often a view is mixed by CutMix, in [0, 1], by one draw a view; mixup always mixes. The official codes of
    SRe2L and RDED mix every batch, as the default does."""

    def __post_init__(self) -> None:
        _check(asdict(self))
        Siamese(self.strategy)

    @classmethod
    def of(cls, value: Any) -> Views:
        """Read back what `facts` gave; raises `ConfigError` for anything else."""
        names = {field.name for field in fields(cls)}
        fits = isinstance(value, Mapping) and {"count", "seed"} <= set(value) <= names
        require(fits, _WHAT, repr(value)[:200], f"an object with some of {', '.join(sorted(names))}")
        _check(value)
        said = {"mix_probability": _UNSAID, **value} if value.get("mix") == "cutmix" else value
        return cls(**said)

    def facts(self) -> dict[str, Any]:
        """Every setting as plain JSON values; what older readers do not know only where it matters, since they have to
        refuse it: `crop` where there is one, `mix_probability` of CutMix that is not the 0.5 which they take it for."""
        said = {"crop": self.crop < 1, "mix_probability": self.mix == "cutmix" and self.mix_probability != _UNSAID}
        return {name: value for name, value in asdict(self).items() if said.get(name, True)}

    def replay(self, number: int, inputs: Float[Tensor, "m ..."]) -> Float[Tensor, "m ..."]:
        """View `number`, from 0, of all rows `inputs` `[m, ...]` of the set. Cost O(m c h w).

        Raises `ConfigError` for a view that is not there, or an augmentation that does not suit the rows.
        """
        if not 0 <= number < self.count:
            raise ConfigError(
                _WHAT,
                received=f"view {number}",
                expected=f"a number from 0 to {self.count - 1}",
                remedy="take the number of the pass modulo the number of views",
            )
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "view", number))
        if self.crop < 1:
            require(inputs.ndim == 4, _WHAT, f"a crop of rows of shape {list(inputs.shape[1:])}", "images")
            boxes = draw_boxes(len(inputs), (self.crop, 1.0), generator)
            inputs = resized_crop(inputs, boxes, torch.zeros(len(inputs), dtype=torch.bool))
        if self.strategy:
            inputs = Siamese(self.strategy, per_sample=True)(inputs, generator)
        if self.mix:
            # The teacher labels the mixed pixels themselves, so what mixing would do to targets is not wanted.
            nothing = inputs.new_zeros(len(inputs), 1)
            if self.mix == "mixup":
                inputs, _ = mixup(inputs, nothing, generator, self.mix_alpha)
            else:
                inputs, _ = cutmix(inputs, nothing, generator, self.mix_alpha, self.mix_probability)
        return inputs


def _check(values: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for settings that are not of their type or out of range; missing ones are the defaults."""
    count, seed, alpha = values["count"], values["seed"], values.get("mix_alpha", 1.0)
    whole = type(count) is int and count >= 1 and type(seed) is int and 0 <= seed < 1 << 53
    texts = isinstance(values.get("strategy", ""), str) and values.get("mix", "") in ("", "mixup", "cutmix")
    crop = values.get("crop", 1.0)
    number = type(alpha) is float and 0 < alpha < float("inf") and type(crop) is float and 0 < crop <= 1
    wanted = "a count of at least 1, a seed below 2^53, a strategy, '', 'mixup' or 'cutmix', a positive alpha"
    wanted += ", a crop of at most 1"
    often = values.get("mix_probability", 1.0)
    mixed = type(often) is float and (often == 1 or (values.get("mix", "") == "cutmix" and 0 <= often <= 1))
    wanted += ", with 'cutmix' a mix_probability from 0.0 to 1.0"
    require(whole and texts and number and mixed, _WHAT, repr(values)[:200], wanted)

"""How a network is trained: `FitConfig`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

from decoct.settings import out_of_range, require_above, require_at_least, require_settings, require_share

LabelKind = Literal["hard", "probabilities", "scores"]
Loss = Literal["auto", "ce", "kl", "mse"]
WHERE = "a FitConfig"
"""What these settings are called where one is refused."""

_CHOICES = {
    "optimizer": ("sgd", "adamw", "adam"),
    "schedule": ("constant", "step", "cosine"),
    "loss": ("auto", "ce", "kl", "mse"),
    "augment_mode": ("one_family", "per_sample", "siamese"),
    "mix": ("", "mixup", "cutmix"),
    "precision": ("float32", "bfloat16"),
}


@dataclass(frozen=True)
class FitConfig:
    """Ordinary training of a network on a set of rows."""

    optimizer: Literal["sgd", "adamw", "adam"] = "sgd"
    """sgd (with momentum), adamw (decoupled weight decay) or adam."""
    lr: float = 0.01
    """Learning rate at the start (after the warm-up)."""
    momentum: float = 0.9
    """Momentum of sgd; the others ignore it."""
    weight_decay: float = 5e-4
    """Weight decay: added to the gradient by sgd and adam, decoupled in adamw."""
    epochs: int = 300
    """Passes over the set."""
    batch_size: int | None = 256
    """Rows of one step; none means the whole set. A smaller set is one batch."""
    schedule: Literal["constant", "step", "cosine"] = "step"
    """constant; step (times 0.1 from the middle on); cosine (half a period, down to 0)."""
    warmup_steps: int = 0
    """Steps over which the learning rate grows linearly from 0 to its value, before the schedule."""
    loss: Loss = "auto"
    """ce, kl, mse, or auto: ce for hard labels, kl for probabilities, mse for scores."""
    temperature: float = 1.0
    """Temperature T of kl: `T^2 * KL(p || softmax(logits / T))`, without the constant entropy of p."""
    augment: str = ""
    """Siamese strategy, families joined by underscores, such as color_crop_cutout_flip_scale_rotate, or randaugment;
    none if empty."""
    augment_mode: Literal["one_family", "per_sample", "siamese"] = "one_family"
    """one_family: each row its own parameters in one family drawn for the batch, as the field trains networks;
    per_sample: each row its own family too; siamese: one family and one set of parameters for the batch."""
    mix: Literal["", "mixup", "cutmix"] = ""
    """Mix pairs of rows and their targets."""
    mix_alpha: float = 1.0
    """Both parameters of the beta distribution that mixup and cutmix draw their share from."""
    ema: float = 0.0
    """Decay of the averaged weights that are evaluated and returned, in [0, 1); 0 turns averaging off."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of forward and backward; weights, gradients and loss stay float32. Batch normalisation, and devices
    that would only imitate bfloat16, stay with float32."""

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise out_of_range(self, name, WHERE, "one of " + ", ".join(repr(k) for k in known))
        require_above(self, WHERE, lr=0, temperature=0, mix_alpha=0)
        require_at_least(self, WHERE, weight_decay=0, epochs=1, batch_size=1, warmup_steps=0)
        require_share(self, WHERE, "momentum", "ema")
        whole = {name: getattr(self, name) for name in ("epochs", "batch_size", "warmup_steps")}
        require_settings(
            self, WHERE,
            *((name, value is None or isinstance(value, Integral), "a whole number") for name, value in whole.items()),
        )  # fmt: skip

    def loss_for(self, label_kind: LabelKind) -> Loss:
        """The loss that `auto` means for these labels; raises `ConfigError` for a loss that cannot read them."""
        if self.loss == "auto":
            return {"hard": "ce", "probabilities": "kl", "scores": "mse"}[label_kind]  # type: ignore[return-value]
        if label_kind == "scores" and self.loss != "mse":
            raise out_of_range(self, "loss", WHERE, "'auto' or 'mse': the labels are scores, not probabilities")
        return self.loss

    def lr_factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by at `step` (from 0) of `steps`."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.schedule == "step":
            return 0.1 if step >= steps / 2 else 1.0
        if self.schedule == "cosine":
            left = max(1, steps - self.warmup_steps)
            return 0.5 * (1 + math.cos(math.pi * (step - self.warmup_steps) / left))
        return 1.0

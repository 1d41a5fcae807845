"""`teacher`: a network trained on the real data labels the synthetic rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoct.distillation.axes import Labels, LabelState, Objective, Storage, Tensors
from decoct.distillation.problem import Problem
from decoct.networks.build import network
from decoct.progress import progress
from decoct.streams import Streams, derive_seed
from decoct.training.accuracy import predict
from decoct.training.expert import train_expert


@dataclass(frozen=True)
class Teacher(Labels):
    """Soft targets `softmax(f(x) / temperature)` of an expert `f` trained on the real training split.

    Paper: "A Label is Worth a Thousand Images in Dataset Distillation", Qin, Deng, Alvarez-Melis, NeurIPS 2024,
    https://arxiv.org/abs/2406.10485; code of the authors: https://github.com/sunnytqin/no-distillation.

    While images still move, the objective sees the targets of the last refresh; the finished images are labelled
    once more, as they will be stored. The epoch of the expert is chosen on the validation split. `[m, C]`
    probabilities, two bytes an entry on disk.
    """

    epochs: int = 5
    """Passes over the real training split to train the expert."""
    temperature: float = 1.0
    """Divides the expert's logits; above 1 the labels are softer."""
    network: str | None = None
    """The expert's architecture; that of the distillation by default."""

    def init(self, problem: Problem, storage: Storage, objective: Objective, streams: Streams) -> LabelState:
        name = self.network or problem.network
        seed = derive_seed(streams.seed, "teacher")
        module = network(name, problem.shape, problem.class_count, seed)
        start = F.one_hot(storage.classes(problem), problem.class_count).float().to(problem.device)
        return TeacherState(self, problem, name, module, start, seed)


class TeacherState(LabelState):
    """The expert, trained at the first refresh, and the targets it gave last."""

    kind = "probabilities"

    def __init__(
        self, config: Teacher, problem: Problem, name: str, module: nn.Module,
        start: Float[Tensor, "m classes"], seed: int,
    ) -> None:  # fmt: skip
        self.tensors = {}
        self._config, self._problem, self._name, self._seed = config, problem, name, seed
        self._module = module.to(problem.device).eval()
        self._trained = False
        self._targets = start

    def _expert(self) -> nn.Module:
        if not self._trained:
            problem, epochs = self._problem, self._config.epochs
            with progress(f"training the teacher, {self._name}", float(epochs)) as tick:
                expert = train_expert(problem.data, self._name, epochs, self._seed, problem.device, tick=tick)
            self._module.load_state_dict(expert.module.state_dict())
            self._trained = True
        return self._module

    def targets(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "k classes"]:
        return self._targets[rows.to(self._targets.device)]

    def refresh(self, images: Float[Tensor, "m ..."]) -> None:
        with torch.no_grad():
            logits = predict(self._expert(), images)
        self._targets = (logits.float() / self._config.temperature).softmax(1).to(self._targets.device)

    def final(self, images: Float[Tensor, "m ..."]) -> Tensor:
        self.refresh(images.to(self._targets.device))
        return self._targets.cpu()

    def state_dict(self) -> Tensors:
        weights = {f"expert.{name}": value for name, value in self._module.state_dict().items()}
        return {**weights, "targets": self._targets, "trained": torch.tensor(self._trained)}

    def load_state_dict(self, state: Tensors) -> None:
        weights = {name.removeprefix("expert."): value for name, value in state.items() if name.startswith("expert.")}
        self._module.load_state_dict(weights)
        self._targets, self._trained = state["targets"].to(self._targets.device), bool(state["trained"])

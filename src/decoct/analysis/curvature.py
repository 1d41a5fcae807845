"""Curvature: how much of what is learned late can the set still teach?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.analysis.finding import Chart, Finding, Series, estimate, shown
from decoct.analysis.path import real_path, spaced
from decoct.analysis.routine import Routine
from decoct.analysis.stacked import class_weight_key, loss_rows
from decoct.analysis.study import Analysis, Study, require_setting
from decoct.evaluation.contender import Material
from decoct.streams import Streams, derive_seed
from decoct.training.accuracy import predict
from decoct.training.flat import FlatNetwork

Loss = Callable[[Float[Tensor, " P"]], Float[Tensor, ""]]


@dataclass(frozen=True)
class Curvature(Analysis):
    """Trace of the Hessian `tr(d^2 L / d theta^2)` of the set's loss along a training on real data.

    Hutchinson's estimate: `mean_s v_s^T H v_s` over `probes` vectors `v_s` of independent signs, each one product of
    Hessian and vector (unbiased; exact for a diagonal Hessian). Weights theta `[P]` are those of a network in
    training on the real rows, at `looks` iterations; `L` is the mean loss of the set's own labels, and beside it that
    of as many or `real_rows` real training rows. Where the trace falls to nothing, the set has nothing left to teach.
    Recognised is the share of the set's images that the network gives their nominal class at that iteration.

    Paper: "What is Dataset Distillation Learning?", Yang, Zhu, Deng & Russakovsky, ICML 2024,
    https://arxiv.org/abs/2406.04284, which measures with PyHessian (Yao, Gholami, Keutzer & Mahoney, 2020,
    https://arxiv.org/abs/1912.07145); code of the authors:
    https://github.com/princetonvisualai/What-is-Dataset-Distillation-Learning. Theirs takes over ten hours for the
    trace of the whole training set; here a sample of it stands for it.

    Cost: `looks probes` passes, each about four forward passes over the set's rows and the real ones, for every seed.
    """

    looks: int = 12
    """Iterations at which the trace is taken, from 0 to the last."""
    probes: int = 10
    """Random vectors an estimate."""
    real_rows: int = 256
    """Real training rows whose loss stands for that of all."""
    routine: Routine = field(default_factory=Routine)
    """How the network is trained on real rows."""
    name = "curvature"

    def __post_init__(self) -> None:
        for setting, least in (("looks", 3), ("probes", 1), ("real_rows", 1)):
            value = getattr(self, setting)
            require_setting(self.name, setting, value >= least, value, f"at least {least}")

    def run(self, study: Study) -> Finding:
        runs = []
        for place, seed in enumerate(study.seeds):
            study.tick(place / len(study.seeds), f"seed {seed}")
            key = {"seed": seed, **class_weight_key(study.compact_set)}
            runs.append(study.once(self.name, self, key, lambda s=seed: self._measure(study, s))["looks"])
        columns = {
            name: [estimate([run[look][name] for run in runs]) for look in range(len(runs[0]))]
            for name in ("set", "real", "recognised", "val")
        }
        steps = [look["iteration"] for look in runs[0]]
        rows = tuple(
            {"iteration": step, "trace of the set": columns["set"][p], "trace of real rows": columns["real"][p],
             "set recognised": columns["recognised"][p], "validation accuracy": columns["val"][p]}
            for p, step in enumerate(steps)
        )  # fmt: skip
        series = (
            Series.of("the set", steps, columns["set"]),
            Series.of("real rows", steps, columns["real"], quiet=True),
        )
        chart = Chart("iterations on real data", "trace of the Hessian of the loss", series, log_x=True)
        return Finding(
            self.name, self._sentence(steps, runs), chart, rows, percent=("set recognised", "validation accuracy"),
            notes=self._notes(study), facts=study.facts(self),
        )  # fmt: skip

    def _measure(self, study: Study, seed: int) -> dict[str, Any]:
        material = study.material()
        count = -(-self.real_rows // study.classes)
        real = study.real(study.rows_per_class(count, seed, "curvature"), material.label_kind)
        real = replace(real, class_weight=material.class_weight)
        generator = Streams(derive_seed(seed, "analysis"))("probes")
        looks = []
        for step, module in real_path(study, self.routine, seed, spaced(self.routine.steps, self.looks)):
            network = FlatNetwork(module)
            theta = network.flatten(module)
            found = {
                name: float(hutchinson(loss_on(network, rows, study.device), theta, self.probes, generator).mean())
                for name, rows in (("set", material), ("real", real))
            }
            said = predict(module, material.inputs).argmax(1)
            recognised = float((said == study.compact_set.classes).float().mean())
            looks.append({"iteration": step, **found, "recognised": recognised,
                          "val": study.accuracy(module, study.data.val)})  # fmt: skip
        return {"looks": looks}

    def _sentence(self, steps: list[int], runs: list[list[dict[str, Any]]]) -> str:
        mean = {
            name: [fmean(run[p][name] for run in runs) for p in range(len(steps))]
            for name in ("set", "real", "recognised")
        }
        top = max(range(len(steps)), key=lambda p: mean["set"][p])
        left = (
            estimate([run[-1]["set"] / run[-1]["real"] for run in runs]) if all(r[-1]["real"] for r in runs) else None
        )
        best = max(mean["recognised"])
        soon = steps[next(p for p, value in enumerate(mean["recognised"]) if value >= 0.95 * best)]
        fallen = mean["set"][-1] / mean["set"][top] if mean["set"][top] else 1.0
        end = f", {shown(left)} times that of real rows" if left else ""
        if top == len(steps) - 1:
            return (
                f"The trace of the set's loss still grows after {steps[-1]} iterations on real data "
                f"({mean['set'][-1]:.3g}{end}): it has more to teach; {100 * best:.0f} % of its images are recognised."
            )
        return (
            f"The trace of the set's loss is largest ({mean['set'][top]:.3g}) after {steps[top]} iterations on real "
            f"data and {100 * fallen:.0f} % of that after {steps[-1]}{end}; {100 * best:.0f} % of its images are "
            f"recognised at most, nearly all of these by iteration {soon}."
        )

    def _notes(self, study: Study) -> tuple[str, ...]:
        if study.compact_set.label_kind == "scores":
            error = "squared error" + (" with the class beside it" if study.compact_set.class_weight else "")
            return (f"labels are scores: both traces are of the {error}, the training is by cross-entropy",)
        return ()


def loss_on(network: FlatNetwork, material: Material, device: str) -> Loss:
    """The mean loss of these rows as a function of the weights."""
    losses, targets = loss_rows(material)
    inputs, targets = material.inputs.to(device), targets.to(device)
    weights = None if material.weights is None else (material.weights / material.weights.sum()).to(device)

    def mean(theta: Float[Tensor, " P"]) -> Float[Tensor, ""]:
        each = losses(network.logits(theta, inputs), targets)
        return each.mean() if weights is None else (weights * each).sum()

    return mean


def hutchinson(
    loss: Loss, theta: Float[Tensor, " P"], probes: int, generator: torch.Generator
) -> Float[Tensor, " probes"]:
    """`v^T H v` for `probes` vectors v of signs drawn from `generator`; their mean estimates the trace of H."""
    found = []
    for _ in range(probes):
        signs = torch.randint(0, 2, theta.shape, generator=generator).to(theta) * 2 - 1
        found.append(curvature_along(loss, theta, signs))
    return torch.stack(found)


def curvature_along(loss: Loss, theta: Float[Tensor, " P"], direction: Float[Tensor, " P"]) -> Float[Tensor, ""]:
    """`v^T H v` by differentiating the gradient along v once more."""
    point = theta.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(point), point, create_graph=True)
    slope = gradient @ direction
    if not slope.requires_grad:
        return torch.zeros_like(slope)  # a loss that is linear in its weights
    (product,) = torch.autograd.grad(slope, point, allow_unused=True)
    return torch.zeros_like(slope).detach() if product is None else (product @ direction).detach()

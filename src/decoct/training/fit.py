"""The ordinary training engine: hard and soft labels, any number of seeds, rows in memory or on disk."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.data.sample_weights import Weights
from decoct.errors import DivergenceError
from decoct.machine import peak_memory
from decoct.progress import Ticker
from decoct.streams import Streams, derive_seed, seeded
from decoct.training.batches import Batches
from decoct.training.checkpoint import load_optimizer, optimizer_tensors, prefixed, under
from decoct.training.config import FitConfig, LabelKind
from decoct.training.fast import FastGradient
from decoct.training.halfway import Halfway
from decoct.training.job import Build, Evaluate, Fitted, Job, Watch
from decoct.training.optimise import Average, optimizer_for, trained, uphill
from decoct.training.sources import Replay, SplitSource, TensorSource

__all__ = ["FitConfig", "fit", "fit_dataset", "train"]


def fit(
    build: Build,
    inputs: Float[Tensor, "m ..."],
    targets: Shaped[Tensor, "m ..."],
    config: FitConfig,
    seeds: Sequence[int],
    *,
    label_kind: LabelKind = "hard",
    weights: Float[Tensor, " m"] | None = None,
    temperatures: Float[Tensor, " m"] | None = None,
    classes: Int[Tensor, " m"] | None = None,
    class_weight: float = 0.0,
    replay: Replay | None = None,
    device: str = "cpu",
    evaluate: Evaluate | None = None,
    evaluate_every: int = 0,
    keep_best: bool = False,
    tick: Ticker | None = None,
) -> list[Fitted]:
    """Train `build(seed)` for every seed on `inputs` `[m, ...]` with `targets` int64 `[m]` or float `[m, C]`.

    `sum_i w_i l(f(x_i), y_i) / b` over batches of b rows, in a new order every pass, as the field's loops do;
    `weights` are scaled to a mean of 1 first. `temperatures` take the place of that of the config, row by row, where
    probabilities of several are fitted together. With a `class_weight` above 0 that many times the cross-entropy of the
    `classes` is added to the squared error of scores (`losses.squared_error_and_class`). `evaluate(module, epoch)`
    (larger is better) is called after every `evaluate_every` passes (0: never) and after the last, with the module in
    eval mode; it must not change it.
    `tick(done, note)` gets the passes done, over all seeds. With `replay`, pass after pass shows the views of a set
    that has labels for them, in turn; `inputs` and `targets` then only say how large it is, and what the config says
    about augmentation and mixing is left undone, since the labels are those of the replayed pixels.

    A seed decides everything about its own network (initialisation through `build`, order, augmentation, mixing,
    dropout), so it gives the same bits whatever the other seeds are. Seeds are trained in turn and share one
    compiled graph of forward, loss and backward, which uses all cores (`benchmarks/judging_speed.py`). Stacking all
    seeds as one model (`torch.vmap`) was tried on a processor and left out: for ConvNets of 100 images it took 1.5 to
    3 times as long, because their convolutions become grouped ones; it gained a little only where a step takes under
    a millisecond, and would make a seed's bits depend on the others. One process of one thread for each core costs
    the same processor time, and leaves a core idle for the last of an odd number of seeds.

    Cost O(seeds * epochs * m) forward and backward passes; memory beyond the inputs is that of one piece.
    Raises `ConfigError` for targets, weights, temperatures or an augmentation that do not fit, `DivergenceError` when
    a loss is not finite.
    """
    job = Job(build, TensorSource(inputs, device), targets, config, label_kind, weights, device,
              evaluate, evaluate_every, keep_best, replay=replay, temperatures=temperatures,
              classes=classes, class_weight=class_weight)  # fmt: skip
    return train(job, seeds, tick)


def fit_dataset(
    build: Build,
    data: Dataset,
    config: FitConfig,
    seeds: Sequence[int],
    *,
    weights: Weights | None = None,
    device: str = "cpu",
    evaluate: Evaluate | None = None,
    evaluate_every: int = 0,
    keep_best: bool = False,
    tick: Ticker | None = None,
    halfway: Halfway | None = None,
    watch: Watch | None = None,
) -> list[Fitted]:
    """`fit` on the training split of `data` with its hard labels; raw rows are transformed one batch at a time.

    Where rows have weights (of `data`, or given here), a pass shows row i `w_i` times, rounded up or down by chance,
    instead of scaling its loss: very uneven weights would make a few steps very large. With `halfway` and one seed the
    training is kept between its passes, and the same call goes on with it. A `watch` is told what the network says of
    every batch.
    """
    data = data.with_weights(weights)
    source = SplitSource(data, data.train, device)
    job = Job(build, source, data.train.labels(), config, "hard", None, device, evaluate, evaluate_every, keep_best,
              shown_by=data.train.weight(), halfway=halfway, watch=watch)  # fmt: skip
    return train(job, seeds, tick)


def train(job: Job, seeds: Sequence[int], tick: Ticker | None = None) -> list[Fitted]:
    """Train every seed in turn; with `job.halfway`, go on with the one seed where it was saved last."""
    assert job.halfway is None or len(seeds) == 1
    config, fitted = job.config, []
    gradient: FastGradient | None = None
    for place, seed in enumerate(seeds):
        with seeded(derive_seed(seed, "noise")):
            module = job.build(seed).to(job.device)
            # The work of one seed decides, so that a seed's bits do not depend on how many there are.
            gradient = gradient or FastGradient(
                module, job.loss,
                temperature=config.temperature,
                dtype=getattr(torch, config.precision), planned_rows=len(job.source) * config.epochs,
                rows=job.batch_size, keep_outputs=job.watch is not None,
            )  # fmt: skip
            fitted.append(Training(job, module, seed, gradient).run(tick, place * config.epochs))
    return fitted


class Training:
    """The training of one network."""

    def __init__(self, job: Job, module: nn.Module, seed: int, gradient: FastGradient) -> None:
        self._job, self._config, self._seed, self._gradient = job, job.config, seed, gradient
        self._module = gradient.prepare(module.train(), job.source.take(torch.zeros(1, dtype=torch.int64)))
        self._optimizer = optimizer_for(job.config, trained(module).values())
        self._average = Average(module, job.config.ema) if job.config.ema else None
        self._streams = Streams(derive_seed(seed, "fit"))
        self._batches = Batches(job, self._module, self._streams)
        self._step = 0
        self._looking = 0.0
        self._history: list[tuple[int, float]] = []
        self._best_state: dict[str, Tensor] | None = None

    def run(self, tick: Ticker | None, done: int) -> Fitted:
        epochs, loss = self._config.epochs, math.nan
        passed, before = self._go_on()
        start = time.perf_counter() - before
        for epoch in range(passed + 1, epochs + 1):
            loss = self._pass(epoch)
            every = self._job.evaluate_every
            if self._job.evaluate and (epoch == epochs or (every and epoch % every == 0)):
                self._look(epoch)
            if self._job.halfway and epoch < epochs and self._job.halfway.due:
                self._job.halfway.save(*self._state(epoch, time.perf_counter() - start))
            if tick:
                tick(done + epoch, f"loss {loss:.3g}")
        return self._fitted(time.perf_counter() - start - self._looking)

    def _state(self, epoch: int, seconds: float) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that moves, after this pass."""
        tensors = {
            **prefixed("weights", self._module.state_dict()),
            **prefixed("moments", optimizer_tensors(self._optimizer)),
            **prefixed("average", self._average.state_dict() if self._average else {}),
            **prefixed("best", self._best_state or {}),
            **prefixed("streams", self._streams.state_dict()),
            "noise": torch.get_rng_state(),
        }
        if self._job.device.startswith("cuda"):
            tensors["gpu_noise"] = torch.cuda.get_rng_state(self._job.device)
        facts = {"epoch": epoch, "step": self._step, "history": self._history, "seconds": seconds,
                 "looking": self._looking}  # fmt: skip
        return tensors, facts

    def _go_on(self) -> tuple[int, float]:
        """Take back what was saved last: the passes done by then, and the seconds that they took."""
        found = self._job.halfway.read() if self._job.halfway else None
        if found is None:
            return 0, 0.0
        tensors, facts = found
        self._module.load_state_dict(under("weights", tensors))
        load_optimizer(self._optimizer, under("moments", tensors))
        if self._average:
            self._average.load_state_dict(under("average", tensors))
        self._best_state = under("best", tensors) or None
        self._streams.load_state_dict(under("streams", tensors))
        torch.set_rng_state(tensors["noise"])
        if "gpu_noise" in tensors:
            torch.cuda.set_rng_state(tensors["gpu_noise"], self._job.device)
        self._step, self._looking = facts["step"], facts["looking"]
        self._history = [(epoch, value) for epoch, value in facts["history"]]
        return facts["epoch"], facts["seconds"]

    def _pass(self, epoch: int) -> float:
        """One pass over the set; the mean loss of its rows."""
        job, total = self._job, torch.zeros((), device=self._job.device)
        for inputs, targets, weights, rows in self._batches.of_pass(epoch):
            for group in self._optimizer.param_groups:
                group["lr"] = self._config.lr * self._config.lr_factor(self._step, self._batches.steps)
            loss = self._gradient(self._module, inputs, targets, weights)
            if job.watch and self._gradient.outputs is not None:
                job.watch.told(rows, self._gradient.outputs)
            if job.sam_radius:
                with uphill(self._module.parameters(), job.sam_radius, job.sam_adaptive):
                    self._gradient(self._module, inputs, targets, weights)
            self._optimizer.step()
            if self._average:
                self._average.update(self._module)
            self._step += 1
            total = total + loss * len(inputs)
        mean = float(total) / len(job.source)  # the one place that waits for the device
        if not math.isfinite(mean):
            raise diverged(self._config, self._seed, epoch, mean)
        return mean

    def _look(self, epoch: int) -> None:
        start = time.perf_counter()
        module, evaluate = self._average.module if self._average else self._module, self._job.evaluate
        assert evaluate is not None
        value = float(evaluate(module.eval(), epoch))
        if self._job.keep_best and value > max((v for _, v in self._history), default=-math.inf):
            self._best_state = {name: part.detach().clone() for name, part in module.state_dict().items()}
        self._history.append((epoch, value))
        self._module.train()
        self._looking += time.perf_counter() - start

    def _fitted(self, seconds: float) -> Fitted:
        job, config = self._job, self._config
        module = self._average.module if self._average else self._module
        for parameter in self._module.parameters():
            parameter.grad = None
        seen = len(job.source) * config.epochs
        best_epoch, best = max(self._history, key=lambda look: look[1], default=(config.epochs, None))
        last = self._history[-1][1] if self._history else None
        for own, weight in zip(module.parameters(), self._module.parameters(), strict=True):
            own.requires_grad_(weight.requires_grad)
        module = module.eval().to(memory_format=torch.contiguous_format)  # pyright: ignore
        distinct = seen if config.augment or config.mix else len(job.source)
        if job.replay:
            distinct = len(job.source) * min(config.epochs, job.replay.count)
        return Fitted(
            module, self._seed, last, best, best_epoch, seconds, seen, distinct, peak_memory(), self._gradient.how,
            self._history, self._best_state,
        )  # fmt: skip


def diverged(config: FitConfig, seed: int, epoch: int, loss: float) -> DivergenceError:
    """The error for a training whose mean loss of a pass is not finite."""
    return DivergenceError(
        f"training with {config.optimizer}, seed {seed}, pass {epoch} of {config.epochs}",
        received=f"a mean loss of {loss}",
        expected="a finite loss",
        remedy=f"lower lr (now {config.lr:g}), add warmup_steps, or check the inputs for NaN and infinity",
    )

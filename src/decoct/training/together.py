"""Trainings of several networks of one architecture as one stacked model: a step of all of them at once."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import grad, grad_and_value, vmap

from decoct.networks.probe import blank_inputs
from decoct.progress import Ticker
from decoct.streams import Streams, derive_seed
from decoct.training.batches import Batches
from decoct.training.checkpoint import Tensors, load_optimizer, optimizer_tensors, prefixed, under
from decoct.training.config import FitConfig
from decoct.training.fit import diverged
from decoct.training.flat import FlatNetwork
from decoct.training.graphs import draws_noise, mixes_rows
from decoct.training.halfway import Halfway
from decoct.training.job import Job
from decoct.training.losses import RowLosses, row_losses
from decoct.training.optimise import Average, optimizer_for

ON_ACCELERATOR = 8
"""Networks trained at once where nothing is asked for and there is an accelerator."""


def at_once(asked: int | None, device: str) -> int:
    """How many networks are trained as one: those asked for, else one on a processor and several elsewhere."""
    return asked or (1 if device == "cpu" else ON_ACCELERATOR)


def stackable(module: nn.Module, shape: tuple[int, ...], config: FitConfig) -> bool:
    """Whether networks like this one train stacked as they do in turn, rows of this shape given.

    Not so batch normalisation, whose running statistics `FlatNetwork` leaves out, dropout, whose noise each network
    draws from a generator of its own, arithmetic other than float32, and what `torch.vmap` cannot do.
    """
    training = copy.deepcopy(module).train()
    if mixes_rows(training) or draws_noise(training) or config.precision != "float32":
        return False
    network = FlatNetwork(module)
    two, inputs = network.flatten(module).repeat(2, 1), blank_inputs(module, shape, 2)
    try:
        vmap(grad(lambda theta: network.logits(theta, inputs).square().sum()))(two)
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        return False
    return True


class Together:
    """K trainings of `Job`s that differ in their rows, each from the weights and the streams of its own seed.

    Network k takes the steps of `Training`: its weights are row k of one matrix `[K, P]`, its batches, augmentation and
    mixing come from the same streams, its gradient from the mean loss of its own batch, by `torch.vmap`, and the
    optimiser, which works on each number by itself, moves all rows. So weights agree with those of a training alone up
    to rounding, which a long training enlarges; the bits depend on K. Cost that of K trainings; memory K times the
    weights, their moments and the activations of a batch.
    """

    def __init__(self, jobs: Sequence[Job], seeds: Sequence[int]) -> None:
        self._jobs, self._seeds, self._config = jobs, list(seeds), jobs[0].config
        modules = [job.build(seed) for job, seed in zip(jobs, seeds, strict=True)]
        first, device = modules[0].to(jobs[0].device).train(), jobs[0].device
        self._network = FlatNetwork(first)
        weights = torch.stack([self._network.flatten(module).to(device) for module in modules])
        self._weights = nn.ParameterList([weights])
        self._optimizer = optimizer_for(self._config, self._weights.parameters())
        self._average = Average(self._weights, self._config.ema) if self._config.ema else None
        self._streams = [Streams(derive_seed(seed, "fit")) for seed in seeds]
        self._batches = [Batches(job, first, streams) for job, streams in zip(jobs, self._streams, strict=True)]
        loss = jobs[0].loss
        self._losses: RowLosses = loss if callable(loss) else row_losses(loss, self._config.temperature)
        self._gradients = vmap(grad_and_value(self._loss))
        self._step = 0

    def run(self, look: Callable[[Float[Tensor, "k p"]], None], tick: Ticker, halfway: Halfway | None) -> None:
        """All passes; `look` is shown the weights after each, averaged ones where the config averages.

        With `halfway` the training is kept between its passes, and goes on with it. Raises `DivergenceError`.
        """
        epochs = self._config.epochs
        for epoch in range(self._go_on(halfway) + 1, epochs + 1):
            loss = self._pass(epoch)
            seen = self._average.module if self._average else self._weights
            look(seen[0].detach())  # type: ignore[index]
            if halfway and epoch < epochs and halfway.due:
                halfway.save(self._state(), {"epoch": epoch, "step": self._step})
            tick(epoch, f"loss {loss:.3g}")

    def _pass(self, epoch: int) -> float:
        """One pass of every network; the mean of their losses."""
        job, theta = self._jobs[0], self._weights[0]
        total = torch.zeros(len(self._seeds), device=theta.device)
        for batches in zip(*(batches.of_pass(epoch) for batches in self._batches), strict=True):
            x, y = (torch.stack([batch[place] for batch in batches]) for place in (0, 1))  # type: ignore[misc]
            for group in self._optimizer.param_groups:
                group["lr"] = self._config.lr * self._config.lr_factor(self._step, self._batches[0].steps)
            theta.grad, losses = self._gradients(theta.detach(), x, y)
            if job.sam_radius:
                # The steps of `optimise.uphill`, a network a row.
                scale = theta.detach() if job.sam_adaptive else 1
                slope = scale * theta.grad
                norms = slope.double().norm(dim=1, keepdim=True).clamp_min(1e-12)
                uphill = theta.detach() + scale * slope * (job.sam_radius / norms).to(theta.dtype)
                theta.grad, _ = self._gradients(uphill, x, y)
            self._optimizer.step()
            if self._average:
                self._average.update(self._weights)
            self._step += 1
            total = total + losses * x.shape[1]
        means = (total / len(job.source)).tolist()  # the one place that waits for the device
        for seed, mean in zip(self._seeds, means, strict=True):
            if not math.isfinite(mean):
                raise diverged(self._config, seed, epoch, mean)
        return sum(means) / len(means)

    def _loss(self, theta: Float[Tensor, " p"], x: Tensor, y: Tensor) -> Float[Tensor, ""]:
        return self._losses(self._network.logits(theta, x), y).mean()

    def _state(self) -> Tensors:
        """Everything that moves, after a pass."""
        tensors = {
            "weights": self._weights[0].detach(),
            **prefixed("moments", optimizer_tensors(self._optimizer)),
            **prefixed("average", self._average.state_dict() if self._average else {}),
        }
        for place, streams in enumerate(self._streams):
            tensors |= prefixed(f"streams{place}", streams.state_dict())
        return tensors

    def _go_on(self, halfway: Halfway | None) -> int:
        """Take back what was saved last; the passes done by then."""
        found = halfway.read() if halfway else None
        if found is None:
            return 0
        tensors, facts = found
        with torch.no_grad():
            self._weights[0].copy_(tensors["weights"])
        load_optimizer(self._optimizer, under("moments", tensors))
        if self._average:
            self._average.load_state_dict(under("average", tensors))
        for place, streams in enumerate(self._streams):
            streams.load_state_dict(under(f"streams{place}", tensors))
        self._step = facts["step"]
        return facts["epoch"]

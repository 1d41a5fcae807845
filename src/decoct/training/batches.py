"""The batches of a training: rows in their order, augmented, mixed and weighted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from decoct.augment.mixing import cutmix, mixup
from decoct.augment.randaugment import RANDAUGMENT, RandAugment
from decoct.augment.siamese import Siamese
from decoct.data.sample_weights import draw
from decoct.errors import ConfigError
from decoct.streams import Streams, seeded
from decoct.training.graphs import mixes_rows
from decoct.training.job import Job
from decoct.training.losses import with_classes

Batch = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""Inputs `[b, ...]`, targets int64 `[b]` or float `[b, C]` (`[b, C + 1]` with temperatures, `[b, 2 C]` with classes
beside scores), weights `[b]` or none, row numbers `[b]`, or none for all rows in their order."""


class Batches:
    """Pass after pass over what a job trains on, everything random from the streams of one seed.

    A last row that is left alone goes with the batch before it where the network cannot take it alone: batch
    normalisation finds no variance in one vector. Where every batch is one row, that is a `ConfigError`.
    """

    def __init__(self, job: Job, module: nn.Module, streams: Streams) -> None:
        self._job, self._config, self._module, self._streams = job, job.config, module, streams
        self._view: tuple[Tensor, ...] | None = None

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self._job.steps - self._job.config.epochs * self._joins

    def of_pass(self, epoch: int) -> Iterator[Batch]:
        """The batches of this pass, the first of which is 1."""
        job = self._job
        if job.replay:
            self._view = tuple(part.to(job.device) for part in job.replay.view((epoch - 1) % job.replay.count))
        for rows in self._rows():
            yield *self._batch(rows), rows

    def _rows(self) -> Iterator[Tensor | None]:
        """Row numbers of each batch of one pass; None for all rows at once, whose order says nothing."""
        m, size, shown_by = len(self._job.source), self._job.batch_size, self._job.shown_by
        if shown_by is not None:
            yield from self._cut(draw(shown_by, m, self._streams("order")))
            return
        if size == m:
            yield None
            return
        yield from self._cut(torch.randperm(m, generator=self._streams("order")))

    def _cut(self, order: Tensor) -> list[Tensor]:
        parts = list(order.split(self._job.batch_size))
        return [*parts[:-2], torch.cat(parts[-2:])] if self._joins else parts

    @cached_property
    def _joins(self) -> bool:
        """Whether the last batch of a pass is one row that goes with the batch before."""
        m, size = len(self._job.source), self._job.batch_size
        if (size > 1 and m % size != 1) or not mixes_rows(self._module):
            return False
        if _takes_one(self._module, self._job.source.take(torch.zeros(1, dtype=torch.int64))):
            return False
        if size == 1:
            raise ConfigError(
                f"training a {type(self._module).__name__} in batches of one row",
                received="a network whose batch normalisation needs more than one value of each channel",
                expected="batches of at least two rows",
                remedy="raise batch_size, give more rows, or take a network with another normalisation",
            )
        return True

    def _batch(self, rows: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        job, config = self._job, self._config
        inputs, targets = self._shown(rows)
        if targets.is_floating_point():
            targets = targets.to(inputs.dtype)
        if job.class_weight and job.classes is not None:
            targets = with_classes(targets, job.classes if rows is None else job.classes[rows])
        weights = None
        if job.weights is not None:
            scaled = job.weights / job.weights.mean()
            weights = (scaled if rows is None else scaled[rows]).to(inputs)
        if config.augment and not job.replay:
            inputs = self._augment(inputs)
        if config.mix and not job.replay:
            if not targets.is_floating_point():
                targets = F.one_hot(targets, self._classes(inputs)).to(inputs.dtype)
            mix = mixup if config.mix == "mixup" else cutmix
            inputs, targets = mix(inputs, targets, self._streams("mix"), config.mix_alpha)
        if job.temperatures is not None:
            own = job.temperatures if rows is None else job.temperatures[rows]
            targets = torch.cat([targets, own.to(targets)[:, None]], 1)
        return inputs, targets, weights

    def _shown(self, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        """Inputs and targets of these rows, of the view of this pass where there are views."""
        if self._view is not None:
            inputs, targets = self._view
            return (inputs, targets) if rows is None else (inputs[rows], targets[rows])
        inputs, targets = self._job.source.take(rows), self._job.targets
        return inputs, (targets if rows is None else targets[rows]).to(inputs.device)

    def _augment(self, inputs: Tensor) -> Tensor:
        mode = self._config.augment_mode
        if self._config.augment == RANDAUGMENT:
            return RandAugment()(inputs, self._streams("augment"))
        siamese = Siamese(self._config.augment, per_sample=mode != "siamese", one_family=mode == "one_family")
        return siamese(inputs, self._streams("augment"))

    def _classes(self, inputs: Tensor) -> int:
        """The number of outputs of the network, asked once."""
        if not hasattr(self, "_width"):
            with torch.no_grad():
                self._width = self._module.eval()(inputs[:1]).shape[1]
            self._module.train()
        return self._width


def _takes_one(module: nn.Module, row: Tensor) -> bool:
    """Whether a network in training takes a batch of this one row; tried on copies of what it keeps."""
    state = {name: value.detach().clone() for name, value in module.state_dict().items()}
    try:
        with torch.no_grad(), seeded(0):
            functional_call(module, state, (row,))
    except ValueError:
        return False
    return True

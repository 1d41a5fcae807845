"""A network that has learned what is easiest, and little else: the cue of a biased set."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.errors import DivergenceError
from decoct.networks.build import network as build_network
from decoct.progress import progress
from decoct.streams import Streams, derive_seed
from decoct.training.sources import SplitSource

Q = 0.7
"""Exponent of the generalised cross-entropy, as in "Learning from Failure"."""
BATCH = 128
LR = 1e-3
LEAST_STEPS = 60
"""Steps at least: small sets are shown more often."""


def generalised_cross_entropy(
    logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], q: float | int = Q
) -> Float[Tensor, ""]:
    """Mean of `(1 - p_y^q) / q`, whose gradient is that of the cross-entropy times `p_y^q`.

    Rows that the network already has right count more, so that it goes on preferring what is easy; q to 0 is the
    cross-entropy. Zhang and Sabuncu, "Generalized Cross Entropy Loss", NeurIPS 2018, https://arxiv.org/abs/1805.07836.
    """
    own = logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
    return ((1 - (q * own).exp()) / q).mean()


def early_network(data: Dataset, name: str, epochs: int, seed: int, device: str = "cpu") -> nn.Module:
    """`network` `name` after a few passes of generalised cross-entropy over the training split, in eval mode.

    The biased network of "Learning from Failure", Nam et al., NeurIPS 2020, https://arxiv.org/abs/2007.02561, stopped
    early, when it knows the cue and not yet the rows that contradict it: Adam with a step size of 0.001, batches of
    128, `epochs` passes, 60 steps at least. Weights of `data`, if it has any, are not looked at: the bias is what is
    to be learned. Raises `DivergenceError` for a loss that is not finite.
    """
    module = build_network(name, data.spec.shape, data.spec.classes, derive_seed(seed, "early")).to(device).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)
    source, labels = SplitSource(data, data.train, device), data.train.labels()
    order = Streams(derive_seed(seed, "early"))("order")
    size = min(BATCH, len(labels))
    steps = max(epochs * -(-len(labels) // size), LEAST_STEPS)
    rows = torch.empty(0, dtype=torch.int64)
    with progress("training a network that follows the bias", float(steps)) as tick:
        for step in range(steps):
            if len(rows) < size:
                rows = torch.cat([rows, torch.randperm(len(labels), generator=order)])
            batch, rows = rows[:size], rows[size:]
            loss = generalised_cross_entropy(module(source.take(batch)), labels[batch].to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if not math.isfinite(loss.item()):
                raise DivergenceError(
                    f"step {step} of training {name} to follow the bias", received=f"a loss of {loss.item()}",
                    expected="a finite loss", remedy="check the inputs for NaN and infinity",
                )  # fmt: skip
            tick(float(step + 1), f"loss {loss.item():.3g}")
    return module.eval()

"""A decoder trained on the spot: an autoencoder of real rows, of which the decoder is kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.data.sample_weights import draw
from decoct.networks.build import default_network, network
from decoct.networks.decoder_networks import run_decoder
from decoct.progress import progress
from decoct.streams import Streams

BATCH = 128
LR = 2e-3
ENCODER_WIDTH = 16


@dataclass(frozen=True, eq=False)
class Encoder:
    """From real rows to the latents that a decoder was trained with, of mean 0 and variance 1 each."""

    module: nn.Module

    def __call__(self, inputs: Float[Tensor, "n ..."]) -> Float[Tensor, "n z"]:
        with torch.no_grad():
            return self.module.eval()(inputs)


def encoder(shape: tuple[int, ...], latent: int, seed: int) -> Encoder:
    """A narrow network of the field with `latent` outputs, standardised over the batch."""
    name = default_network(shape)
    body = network(f"{name}-w{ENCODER_WIDTH}" if name.startswith("convnet") else name, shape, latent, seed)
    return Encoder(nn.Sequential(body, nn.BatchNorm1d(latent, affine=False)))


def train_autoencoder(data: Dataset, decoder: nn.Module, steps: int, seed: int, device: str = "cpu") -> Encoder:
    """Train `decoder` in place to undo an encoder on the training split, and return that encoder.

    `L = mean || D(E(x), y) - x ||^2` over batches of 128 rows, Adam with a step size of 0.002 down a cosine. Batches
    and weights are functions of `seed`. Cost: `steps` forward and backward passes of both networks.
    """
    streams = Streams(seed)
    coder = encoder(data.spec.shape, int(decoder.latent_size), seed)  # type: ignore[arg-type]
    coder.module.to(device)
    optimizer = torch.optim.Adam([*coder.module.parameters(), *decoder.parameters()], lr=LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    coder.module.train()
    decoder.train()
    with progress("training the decoder", float(steps)) as tick:
        for step in range(steps):
            inputs, labels = _batch(data, streams("rows"), device)
            one_hot = F.one_hot(labels, data.spec.classes).float()
            loss = F.mse_loss(run_decoder(decoder, coder.module(inputs), one_hot), inputs)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            tick(float(step + 1), f"squared error {loss.item():.3f}")
    decoder.eval()
    return coder


def _batch(data: Dataset, generator: torch.Generator, device: str) -> tuple[Float[Tensor, "n ..."], Int[Tensor, " n"]]:
    weights = data.train.weight()
    if weights is None:
        rows = torch.randint(len(data.train), (BATCH,), generator=generator)
    else:
        rows = draw(weights, BATCH, generator)
    return data.inputs(data.train, rows, device), data.train.labels(rows).to(device)

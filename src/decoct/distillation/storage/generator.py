"""`generator`: every decoded row comes out of a network, from a learned latent."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoct.compact.decoders import generated
from decoct.distillation.axes import Storage, Tensors
from decoct.distillation.checkpoint import load_checkpoint, prefixed, save_checkpoint
from decoct.distillation.problem import Problem
from decoct.distillation.storage.pixels import initial_rows
from decoct.errors import BudgetError, ConfigError, DataError, IntegrityError
from decoct.networks.decoder_networks import (
    DECODER_NETWORKS,
    admit_decoder,
    decoder_network,
    decoder_weights,
    require_known,
    structure,
)
from decoct.networks.identity import module_identity
from decoct.settings import require_at_least
from decoct.streams import Streams, derive_seed
from decoct.training.autoencoder import Encoder, encoder, train_autoencoder


@dataclass(frozen=True)
class Generator(Storage):
    """`x_j = D(w_j, c_j)`: a latent `w_j` for each row, and a decoder D that all rows share.

    Paper: "Generalizing Dataset Distillation via Deep Generative Prior" (GLaD), Cazenavette, Wang, Torralba, Efros,
    Zhu, CVPR 2023, https://arxiv.org/abs/2305.01649; code of the authors:
    https://github.com/GeorgeCazenavette/glad.

    `latents` `[C r, z]` grouped by class, `decoder.*` the weights of D, `frame` `[0, C, *shape]` an empty tensor whose
    shape tells the classes and the rows. Gradients of the images go through D in a second pass, a chunk of rows at a
    time, so memory does not grow with the rows.

    Rows of a class: `r = floor(ipc row_bytes / (2 z))`, latents being stored as half floats, at most `max_per_class`.
    The weights are stored too, as half floats; they are reported as the decoder's bytes and are no part of that
    budget, as in the paper, which keeps silent about them.

    Differs from the paper: there D is one pre-trained StyleGAN-XL and the latents are those of a chosen layer, one for
    each image of the budget; here D is any module, for one trained on the spot the start are encoded real rows, and
    the bytes of an image buy as many latents as they hold.
    """

    decoder: str = "small-decoder"
    """A listed decoder ("small-decoder-z16-w8": 16 latents, width 8) or "package.module:factory"; the factory gives
    `factory(shape, classes) -> nn.Module` with `latent_size`, and `conditional` where it wants one-hot classes."""
    train_steps: int | None = None
    """Steps of auto-encoding real rows before the first step. None trains a listed decoder for 400, and leaves one of
    the user's own as the factory makes it."""
    learn_decoder: bool = False
    """Move the weights of D as well."""
    decoder_rate: float = 0.1
    """Step size of the weights of D as a multiple of the recipe's, where they are learned."""
    max_per_class: int = 64
    """Decoded rows of a class at most, whatever the bytes allow: compute grows with them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        admit_decoder(self.decoder)
        require_at_least(self, "the storage 'generator'", decoder_rate=0)

    def network_identities(self, problem: Problem) -> dict[str, str]:
        if _foreign_target(self.decoder) is None:
            return {}
        module = decoder_network(self.decoder, problem.shape, problem.class_count, 0)
        return {self.decoder: _identity(self.decoder, module)}

    def init(self, problem: Problem, streams: Streams) -> Tensors:
        classes, shape = problem.class_count, problem.shape
        seed = derive_seed(streams.seed, "decoder")
        module = decoder_network(self.decoder, shape, classes, seed).to(problem.device)
        rows = len(self.classes(problem))
        coder = self._trained(module, problem, seed)
        if coder is None:
            latents = torch.randn(rows, module.latent_size, generator=streams("init")).to(problem.device)  # type: ignore[call-overload]
        else:
            real = initial_rows("real", problem, rows // classes, streams)
            latents = coder(real.to(problem.device)).clone()
        frame = torch.zeros(0, classes, *shape, device=problem.device)
        weights = {name: part.clone() for name, part in decoder_weights(module).items()}
        return {"latents": latents, "frame": frame, **prefixed("decoder", weights)}

    def classes(self, problem: Problem) -> Int[Tensor, " m"]:
        return torch.arange(problem.class_count).repeat_interleave(self._rows(problem))

    def decode(self, tensors: Tensors, rows: Int[Tensor, " k"] | None = None) -> Float[Tensor, "k ..."]:
        moving = tensors if self.learn_decoder else _still(tensors)
        return generated(moving, self._config(tensors), rows)

    def rate(self, name: str) -> float:
        return self.decoder_rate if name.startswith("decoder.") else 1.0

    def pack(self, tensors: Tensors, problem: Problem) -> tuple[str, Tensors, dict[str, Any]]:
        stored = {name: tensor.detach().cpu().half() for name, tensor in tensors.items() if name != "frame"}
        if not all(bool(torch.isfinite(tensor).all()) for tensor in stored.values()):
            raise DataError(
                "storing latents and a decoder as half floats",
                received="NaN, infinity, or a value above 65504",
                expected="finite values of at most 65504 in size",
                remedy="lower the learning rate",
            )
        return "generator", stored, self._config(tensors)

    def _config(self, tensors: Tensors) -> dict[str, Any]:
        classes, *shape = tensors["frame"].shape[1:]
        return {"decoder": self.decoder, "shape": shape, "classes": classes}

    def _rows(self, problem: Problem) -> int:
        """Latents of a class that the bytes allow; raises `BudgetError` where there is no room for one."""
        size = int(structure(self.decoder, problem.shape, problem.class_count).latent_size)  # type: ignore[arg-type]
        rows = problem.ipc * problem.spec.row_bytes // (2 * size)
        if rows < 1 or self.max_per_class < 1:
            raise BudgetError(
                f"storing {problem.ipc} images a class of shape {problem.shape} as latents",
                received=f"{size} latents of two bytes, at most {self.max_per_class} rows of a class",
                expected=f"at least one row of a class in {problem.ipc * problem.spec.row_bytes} bytes",
                remedy='take a decoder with fewer latents ("small-decoder-z8"), or raise the budget',
            )
        return min(rows, self.max_per_class)

    def _trained(self, module: nn.Module, problem: Problem, seed: int) -> Encoder | None:
        """Train the decoder in place (once: a resumed run finds it in the cache); None where it stays as it is."""
        steps = self.train_steps if self.train_steps is not None else 0 if ":" in self.decoder else 400
        if steps < 0:
            raise ConfigError(
                "training a decoder", received=f"{steps} steps", expected="0 or more", remedy="give more train_steps"
            )
        if steps == 0:
            return None
        facts = {
            "decoder": _identity(self.decoder, module), "steps": steps, "seed": seed,
            "fingerprint": problem.spec.fingerprint, "transform": problem.spec.transform.kind,
            "rows": problem.data.rows_key,
        }  # fmt: skip
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        path = None if problem.cache is None else problem.cache / f"decoder-{key}.safetensors"
        known = None if path is None else _kept(path)
        if known is not None:
            coder = encoder(problem.shape, int(module.latent_size), seed)  # type: ignore[arg-type]
            coder.module.to(problem.device)
            pair = nn.ModuleDict({"decoder": module, "encoder": coder.module})
            pair.load_state_dict(known)
            return coder
        coder = train_autoencoder(problem.data, module, steps, seed, problem.device)
        if path is not None:
            pair = nn.ModuleDict({"decoder": module, "encoder": coder.module})
            save_checkpoint(path, dict(pair.state_dict()), facts)
        return coder


def _identity(name: str, module: nn.Module) -> str:
    """`name`, and for a decoder from outside decoct a hash of what it is made of as well; stands in the cache's key."""
    target = _foreign_target(name)
    return name if target is None else f"{name}@{module_identity(target, module)}"


def _foreign_target(name: str) -> str | None:
    """Where this decoder is made, "module:object", if that is outside decoct. Raises `UnknownNameError`."""
    target = require_known(name)
    if ":" not in name:
        # What follows a listed name are sizes.
        target = DECODER_NETWORKS[max((listed for listed in DECODER_NETWORKS if name.startswith(listed)), key=len)]
    return None if target.startswith("decoct.") else target


def _kept(path: Path) -> Tensors | None:
    """The decoder and its encoder in this file, or None where there is none, or a damaged one."""
    try:
        return load_checkpoint(path)[0] if path.exists() else None
    except IntegrityError:
        return None


def _still(tensors: Tensors) -> Tensors:
    """The same with weights that no gradient reaches."""
    return {name: tensor.detach() if name.startswith("decoder.") else tensor for name, tensor in tensors.items()}

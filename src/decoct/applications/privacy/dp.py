"""Differentially private distribution matching: class sums of clipped embeddings, noised once and matched for ever."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from decoct.analysis.finding import Chart, Finding
from decoct.applications.privacy.accounting import Accountant, Release, epsilon, noise_for
from decoct.applications.privacy.noise import clipped, noisy_sums, poisson_rows
from decoct.applications.privacy.release import BLOCK, embedded_blocks, release_network, require_separate_rows
from decoct.compact.decoders import quantise
from decoct.compact.distilled import DistilledSet
from decoct.data.dataset import Dataset
from decoct.data.fingerprint import WITHHELD
from decoct.data.transform import Standardise
from decoct.errors import ConfigError, DivergenceError
from decoct.networks.build import default_network
from decoct.networks.embedding import embed
from decoct.progress import progress
from decoct.streams import Streams, derive_seed


@dataclass(frozen=True)
class PrivateConfig:
    """`V_r = sum_{i in S_r} clip(phi_r(x_i)) e_{y_i} + clip noise N(0, I)`, then images are matched to the V_r.

    S_r is a Poisson sample, phi_r a random network in evaluation mode, so that no row sees another,
    `clip(v) = v min(1, clip / ||v||)`. A row adds one clipped vector to one class, so adding or removing it changes the
    whole table `[C, d]` by at most `clip`. Class sizes are noised once. Everything after that only reads what was
    noised, and costs no privacy however long it runs.

    Setting: "Differentially Private Dataset Condensation" (NDPDC; Zheng and Li, 2023,
    https://openreview.net/forum?id=H8XpqEkbua_); releasing first and matching afterwards as in "Improving Noise
    Efficiency in Privacy-preserving Dataset Distillation" (Zheng et al., 2025, https://arxiv.org/abs/2508.01749).

    Cost: `releases` x `rate` x n forward passes, in blocks of rows, and as many tables `[C, d]` in memory as there are
    releases; then `steps` forward and backward passes over all C ipc images.

    Differs from NDPDC, whose code takes another network and new noise in each of 10,000 iterations and augments: here
    networks and noise are released before the first step, as the second paper does, nothing is augmented, and class
    sizes are noised and accounted for. Differs from the second paper: no subspace from generated images beside the
    private ones, and 100 releases and 1000 steps where its code shows 1000 and 200,000.
    """

    releases: int = 100
    """Random networks, each with one noisy table of class sums."""
    rate: float = 0.2
    """Chance of a row to be in a sample."""
    clip: float = 1.0
    """Bound of the L2 norm of one embedding. Those of ConvNets are longer, so that 1 makes them unit vectors; those of
    networks with batch normalisation, which changes nothing at first, may be shorter: noise drowns more of them."""
    noise: float | None = None
    """Standard deviation of the noise divided by `clip`; none finds the least for `target`."""
    target: float = 8.0
    """Epsilon asked for where `noise` is none."""
    delta: float = 1e-5
    """Chance that the bound fails; should be well below 1 / rows."""
    size_noise: float = 10.0
    """Standard deviation of the noise on the number of rows of each class, released once."""
    sampling: Literal["poisson", "fixed"] = "poisson"
    """poisson: a coin for every row, which the accountants assume; fixed: samples of one size, without any epsilon."""
    accountant: Accountant = "prv"
    """prv (tighter) or rdp."""
    steps: int = 1000
    """Matching steps."""
    lr: float = 0.05
    """Step size of Adam, in units of network inputs."""


@dataclass(frozen=True, eq=False)
class Private:
    """A set and what may be said about its privacy."""

    compact_set: DistilledSet
    epsilon: float | None
    """None where nothing can be claimed."""
    delta: float
    noise: float
    conditions: tuple[str, ...]
    """What the number rests on, or why there is none."""

    @classmethod
    def of(cls, compact_set: DistilledSet) -> Private:
        """What a set that was saved says of itself. Raises `KeyError` for a set that is not private."""
        made = compact_set.provenance
        return cls(compact_set, made["epsilon"], made["delta"], made["noise"], tuple(made["conditions"]))

    def claim(self) -> str:
        """One sentence with the number, or the reason why there is none."""
        if self.epsilon is None:
            return f"No epsilon can be given: {self.conditions[0]}"
        return f"({self.epsilon:.3g}, {self.delta:g})-differentially private. " + " ".join(self.conditions)

    def to_json(self, folder: str | Path) -> dict[str, Any]:
        """Plain JSON values about the set that was saved in `folder`."""
        numbers = {"epsilon": self.epsilon, "delta": self.delta, "noise": self.noise}
        return {"folder": str(folder), **numbers, "claim": self.claim(), "conditions": list(self.conditions)}

    def finding(self, folder: str | Path) -> Finding:
        """The claim with its number, for the report: no chart, since nothing was measured."""
        made, name, claim = self.compact_set.provenance, Path(folder).name, self.claim()
        settings = {key: made[key] for key in ("releases", "rate", "clip", "accountant", "sampling")}
        numbers = {"epsilon": self.epsilon, "delta": f"{self.delta:g}", "noise": self.noise}
        row = {"set": name, **numbers, **settings, "images a class": made["ipc"]}
        return Finding("private", f"The set in {name}: {claim[0].lower()}{claim[1:]}", Chart("", "", ()), (row,))


def public_view(data: Dataset) -> Dataset:
    """The same rows with a spec that was not computed from them: fixed normalisation, no fingerprint.

    Mean, standard deviation and fingerprint of the training rows would go with every set, outside any accounting.
    """
    if not data.spec.is_image:
        raise ConfigError(
            "hiding what a spec tells of private rows", received=f"rows of shape {data.spec.shape}",
            expected="images, whose values lie between 0 and 255 whatever the rows",
            remedy="scale features by constants that are known without the rows, and open them as images",
        )  # fmt: skip
    half = torch.full((data.spec.shape[0],), 0.5)
    return replace(
        data, spec=replace(data.spec, transform=Standardise(half, half.clone()), fingerprint=WITHHELD, notices=())
    )  # fmt: skip


def private_matching(
    data: Dataset, *, ipc: int, config: PrivateConfig | None = None, name: str | None = None, seed: int | None = None
) -> Private:
    """`ipc` images a class that are (epsilon, delta)-differentially private in the training rows of `data`.

    `data` must be a `public_view`. Neighbouring data sets differ by one row that is added or removed. The validation
    split is never looked at, images start from noise, and neither seed nor losses nor class sizes go with the set.

    Without `seed` one is drawn from the system and forgotten. With it the set can be made again, and the claim holds
    against those who do not know it. Noise is in floating point, whose last bits are outside every proof.

    Cost: `releases` x `rate` x n forward passes, `steps` passes over the images with gradients. Raises `ConfigError`
    (also for weighted rows, and for a network in which rows see each other), `MissingExtraError` without opacus,
    `DivergenceError`.
    """
    config, name = config or PrivateConfig(), name or default_network(data.spec.shape)
    require_request(data, ipc, config)
    sizes = Release(config.size_noise, 1.0, 1)
    noise = config.noise or noise_for(config.target, config.delta, config.rate, config.releases, [sizes])
    streams = Streams(secrets.randbits(62) if seed is None else derive_seed(seed, "private"))
    tables = noisy_tables(data, name, replace(config, noise=noise), streams)
    images = _matched(data, ipc, config, name, tables, streams)
    value, conditions = _claim(config, noise, sizes, seed)
    facts = {
        "name": "dp-dm", "kind": "private distillation", "epsilon": value, "delta": config.delta, "noise": noise,
        "target": config.target if config.noise is None else None,
        "rate": config.rate, "releases": config.releases, "clip": config.clip, "size_noise": config.size_noise,
        "sampling": config.sampling, "accountant": config.accountant, "steps": config.steps, "ipc": ipc,
        "network": name, "conditions": list(conditions),
    }  # fmt: skip
    classes = torch.arange(data.spec.classes).repeat_interleave(ipc)
    small = DistilledSet(data.spec, "pixels", {}, quantise(images, 8), classes, "hard", classes, {}, facts)
    return Private(small, value, config.delta, noise, conditions)


def _claim(
    config: PrivateConfig, noise: float, sizes: Release, seed: int | None
) -> tuple[float | None, tuple[str, ...]]:
    if config.sampling != "poisson":
        return None, ("samples of a fixed size are not what the accountant assumes, a coin of its own for every row.",)
    value = epsilon([Release(noise, config.rate, config.releases), sizes], config.delta, config.accountant)
    conditions = (
        "Neighbours differ by one row added or removed; class names and shapes are public.",
        "It covers this set alone: choosing among several private sets by their accuracy costs more.",
    )
    known = ("The noise came from a given seed: it holds against those who do not know the seed.",)
    return value, conditions if seed is None else conditions + known


def noisy_tables(data: Dataset, name: str, config: PrivateConfig, streams: Streams) -> list[Tensor]:
    """For every release the noisy class means under its network `[C, d]`; the only place that reads training rows.

    Raises `ConfigError` for a network in which rows see each other: the sums would move by more than `clip`.
    """
    require_separate_rows(release_network(data, name, streams, 0), name, data.spec.shape)
    labels, classes, n = data.train.labels(), data.spec.classes, len(data.train)
    assert config.noise is not None
    sizes = torch.bincount(labels, minlength=classes).double()
    sizes = sizes + config.size_noise * torch.randn(classes, generator=streams("sizes"), dtype=torch.float64)
    expected = (config.rate * sizes).clamp_min(1.0).float()[:, None]
    tables = []
    with progress("noisy sums", float(config.releases)) as tick:
        for number in range(config.releases):
            if config.sampling == "poisson":
                rows = poisson_rows(n, config.rate, streams("rows"))
            else:
                rows = torch.randperm(n, generator=streams("rows"))[: max(1, round(config.rate * n))]
            module = release_network(data, name, streams, number)
            blocks = zip(embedded_blocks(module, data, rows), labels[rows].split(BLOCK), strict=True)
            sums = noisy_sums(blocks, classes, config.clip, config.noise, streams("noise"))
            tables.append(sums / expected)
            tick(number + 1)
    return tables


def _matched(
    data: Dataset, ipc: int, config: PrivateConfig, name: str, tables: Sequence[Tensor], streams: Streams
) -> Float[Tensor, "m ..."]:
    """Images `[C ipc, ...]` whose clipped embeddings have the noisy means: post-processing, free of further cost."""
    count = data.spec.classes
    classes = torch.arange(count).repeat_interleave(ipc)
    weights = F.one_hot(classes, count).float().T / ipc
    images = torch.randn(count * ipc, *data.spec.shape, generator=streams("init")).mul_(0.5).requires_grad_(True)
    optimizer = torch.optim.Adam([images], lr=config.lr)
    modules: dict[int, nn.Module] = {}
    loss = torch.zeros(())
    with progress("matching noisy means", float(config.steps)) as tick:
        for step in range(config.steps):
            number = int(torch.randint(len(tables), (1,), generator=streams("pick")))
            module = modules[number] = modules.get(number) or release_network(data, name, streams, number)
            means = weights @ clipped(embed(module, images), config.clip)
            loss = (tables[number] - means).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                images.clamp_(-1, 1)  # black and white under the fixed normalisation
            tick(step + 1)
    if not bool(torch.isfinite(images).all()):
        raise DivergenceError(
            "matching noisy means", received=f"a loss of {float(loss)}", expected="finite images",
            remedy="lower lr",
        )  # fmt: skip
    return images.detach()


def require_request(data: Dataset, ipc: int, config: PrivateConfig) -> None:
    """Raise `ConfigError` for data or settings that `private_matching` refuses."""
    rows: Any = len(data.train)
    for option, good, received, expected, remedy in (
        (
            "data", data.spec.fingerprint == WITHHELD, "a spec computed from the rows",
            "a spec that tells nothing of them", "give public_view(data)",
        ),
        (
            "weights", data.train.weights is None, "weights on the training rows",
            "rows that all count the same: a heavy one would move the sums by more than clip", "leave the weights out",
        ),
        ("ipc", ipc >= 1, ipc, "at least 1", "give ipc"),
        ("releases", config.releases >= 1, config.releases, "at least 1", "give releases"),
        ("steps", config.steps >= 1, config.steps, "at least 1", "give steps"),
        ("rate", 0 < config.rate <= 1, config.rate, "in (0, 1]", "give rate"),
        ("clip", config.clip > 0, config.clip, "above 0", "give clip"),
        ("noise", config.noise is None or config.noise > 0, config.noise, "above 0, or none", "give noise"),
        ("size_noise", config.size_noise > 0, config.size_noise, "above 0", "give size_noise"),
        ("delta", 0 < config.delta < 1 / max(1, rows), config.delta, f"above 0 and below 1 / {rows}", "lower delta"),
    ):  # fmt: skip
        if not good:
            raise ConfigError(
                "distilling privately", received=f"{option}: {received}", expected=expected, remedy=remedy
            )

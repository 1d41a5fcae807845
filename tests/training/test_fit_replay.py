"""Training on views: pass e shows view e mod V with its own labels, and nothing is done to it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decoct.streams import derive_seed, seeded
from decoct.training.config import FitConfig
from decoct.training.fit import fit
from decoct.training.job import Fitted
from decoct.training.sources import Replay

M, C = 6, 3


def build(seed: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, C))


def views(count: int) -> Replay:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, M, 1, 4, 4, generator=generator)
    targets = torch.randn(count, M, C, generator=generator).softmax(-1)
    return Replay(count, lambda number: (inputs[number], targets[number]))


def train(replay: Replay, **changes) -> tuple[dict[str, torch.Tensor], Fitted]:
    config = FitConfig(**{"lr": 0.1, "epochs": 5, "schedule": "constant", "batch_size": None, **changes})
    blank, none = torch.zeros(M, 1, 4, 4), torch.full((M, C), 1 / C)
    [fitted] = fit(build, blank, none, config, [0], label_kind="probabilities", replay=replay)
    return {name: part.detach().clone() for name, part in fitted.module.state_dict().items()}, fitted


def by_hand(replay: Replay, epochs: int) -> dict[str, torch.Tensor]:
    with seeded(derive_seed(0, "noise")):
        module = build(0)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for epoch in range(epochs):
        inputs, targets = replay.view(epoch % replay.count)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs), targets).backward()
        optimizer.step()
    return module.state_dict()


def test_every_pass_shows_the_next_view_with_its_own_labels():
    weights, fitted = train(views(3))
    expected = by_hand(views(3), 5)
    assert all(torch.allclose(weights[name], expected[name], atol=1e-6) for name in expected)
    assert fitted.distinct_samples == 3 * M
    assert fitted.samples_seen == 5 * M


def test_no_other_augmentation_touches_a_view():
    plain, _ = train(views(2))
    augmented, _ = train(views(2), augment="crop_scale_color", mix="cutmix")
    assert all(torch.equal(plain[name], augmented[name]) for name in plain)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_rows_and_labels_stay_together_in_batches_of_any_size(batch_size):
    """One view of plain rows is ordinary training on them, bit for bit, with a smaller last batch too."""
    replay = views(1)
    config = FitConfig(lr=0.1, epochs=3, batch_size=batch_size)
    [plain] = fit(build, *replay.view(0), config, [0], label_kind="probabilities")
    viewed, _ = train(replay, epochs=3, batch_size=batch_size, schedule="step")
    assert all(torch.equal(part, viewed[name]) for name, part in plain.module.state_dict().items())

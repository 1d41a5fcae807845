"""Networks without their noise: the layers that draw rest, everything else stays in training mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decoct.networks.dropout import without_noise

ROWS = torch.randn(6, 4, 4, generator=torch.Generator().manual_seed(0))


class Attending(nn.Module):
    """Self-attention."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 2, dropout=dropout, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x, x, x)[0]


@pytest.mark.parametrize(
    "layer",
    [nn.Dropout(0.5), nn.Dropout1d(0.5), nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5), nn.RReLU(), Attending(0.5)],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_draw_rest(layer):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert not torch.equal(layer.train()(ROWS), layer(ROWS)), "it draws as it is"
        before = torch.random.get_rng_state()
        quiet = without_noise(nn.Sequential(layer, nn.BatchNorm1d(4)).train())
        assert torch.equal(quiet(ROWS), quiet(ROWS))
        assert torch.equal(before, torch.random.get_rng_state())
    still = [type(part) for part in quiet.modules() if not part.training]
    assert type(layer) in still or isinstance(layer, Attending)
    assert nn.BatchNorm1d not in still, "normalisation goes on with the batch"


def test_attention_that_does_not_drop_out_stays_as_it_is():
    assert all(part.training for part in without_noise(Attending(0.0)).modules())

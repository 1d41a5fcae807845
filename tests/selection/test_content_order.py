"""An order that follows from the contents of rows, and what is drawn by it."""

from __future__ import annotations

import torch

from decoct.selection.content_order import content_order, numbered, shuffled
from decoct.selection.selector import Picks


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


PHI = torch.randn(400, 3, generator=_generator(4))
ORDER = torch.randperm(400, generator=_generator(5))


def test_every_row_has_its_place_wherever_it_stands() -> None:
    order = content_order(PHI)
    assert torch.equal(order.sort().values, torch.arange(400))
    assert torch.equal(ORDER[content_order(PHI[ORDER])], order)
    assert torch.equal(ORDER[shuffled(PHI[ORDER], _generator())], shuffled(PHI, _generator()))


def test_the_order_says_nothing_of_the_features() -> None:
    rank = content_order(PHI).argsort().double()
    for column in (*PHI.double().T, torch.arange(400).double()):
        assert abs(float(torch.corrcoef(torch.stack([rank, column]))[0, 1])) < 0.15


def test_a_shuffle_follows_from_the_generator() -> None:
    first, again, other = (shuffled(PHI, _generator(seed)).tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert content_order(PHI).tolist() == content_order(PHI.double().float()).tolist()


def test_equal_rows_stand_as_they_came() -> None:
    assert content_order(torch.ones(7, 2)).tolist() == list(range(7))
    twice = content_order(PHI[:5].repeat(2, 1)).view(5, 2)
    assert torch.equal(twice[:, 1] - twice[:, 0], torch.full((5,), 5))


def test_picks_get_back_the_numbers_of_their_rows() -> None:
    picks = Picks(torch.tensor([2, 0]), torch.ones(2), torch.tensor([0.5, 0.25]))
    found = numbered(picks, torch.tensor([7, 8, 9]))
    assert found.rows.tolist() == [9, 7]
    assert found.scores.tolist() == [0.5, 0.25]

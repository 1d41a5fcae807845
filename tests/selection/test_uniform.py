"""Random rows: uniform, nested, and new for every seed."""

from __future__ import annotations

import torch

from decoct.selection.uniform import Uniform


def test_every_row_is_as_likely_as_any_other() -> None:
    generator = torch.Generator().manual_seed(0)
    times = torch.zeros(10)
    for _ in range(2000):
        times[Uniform().pick(torch.zeros(10, 1), 3, generator).rows] += 1
    # 600 expected each, with a standard deviation of about 20.
    assert (times - 600).abs().max() < 90


def test_seeds_give_different_draws() -> None:
    draws = {
        tuple(Uniform().pick(torch.zeros(50, 1), 5, torch.Generator().manual_seed(s)).rows.tolist()) for s in range(20)
    }
    assert len(draws) == 20


def test_a_smaller_draw_is_a_prefix_of_a_larger_one() -> None:
    large, small = (Uniform().pick(torch.zeros(50, 1), k, torch.Generator().manual_seed(0)).rows for k in (20, 7))
    assert large[:7].tolist() == small.tolist()

"""What every registered selector refuses: features too large to be compared, and numbers that no setting can be."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
import torch

from decoct.errors import ConfigError, DataError
from decoct.selection.by_score import ByScore
from decoct.selection.methods import METHODS, selector
from decoct.selection.selector import Selector
from decoct.selection.settings import settings_of
from decoct.selection.uniform import Uniform

NUMBERS = {
    name: {
        setting.name: kind
        for setting in settings_of(selector(name))
        for kind in (int, float)
        if kind in (setting.kind, *get_args(setting.kind))
    }
    for name in METHODS
    # How long a window may be depends on the recording; it is refused before that is made.
    if name != "dyn-unc"
}
"""The settings of each method that are numbers, and of which kind."""


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def compares(method: Selector) -> bool:
    """Whether it compares rows, and does not only sort or count them."""
    return not isinstance(method, ByScore | Uniform)


@pytest.mark.parametrize("method", [name for name in sorted(METHODS) if compares(selector(name))])
@pytest.mark.parametrize("value", [1e19, 1e20, 3.4e38, 1e39])
def test_features_too_large_to_be_compared_are_refused(method: str, value: float) -> None:
    phi = torch.randn(30, 3, generator=_generator(), dtype=torch.float64)
    phi[17, 1] = value
    said = "with NaN or infinity" if value == 1e39 else "too large to be compared"
    with pytest.raises(DataError, match=rf"\[30, 3\] {said} in 1 rows, first in row 17"):
        selector(method).pick(phi, 6, _generator())
    with pytest.raises(DataError, match=r"in 30 rows, first in row 0"):
        selector(method).pick(torch.full_like(phi, value), 6, _generator())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_large_features_that_can_be_compared_are(method: str) -> None:
    """Just inside what is allowed: the answer is whole, and nothing overflows on the way."""
    phi = torch.randn(30, 3, generator=_generator())
    phi[17, 1] = 1e18
    picks = selector(method).pick(phi, 6, _generator())
    assert len(set(picks.rows.tolist())) == 6
    assert torch.isfinite(picks.scores).all()
    assert torch.isfinite(picks.weights).all()


def test_scores_may_be_as_large_as_single_precision_goes() -> None:
    values = torch.arange(6.0)[:, None]
    values[2] = 3e38
    assert selector("hardest").pick(values, 2, _generator()).rows.tolist() == [2, 5]


@pytest.mark.parametrize("method", [name for name in sorted(NUMBERS) if NUMBERS[name]])
def test_numbers_that_no_setting_can_be_are_refused_at_once(method: str) -> None:
    """Below the range, NaN, and infinity, before anything is computed and not by what fails on them later."""
    plain = selector(method)
    for name, kind in NUMBERS[method].items():
        for value in (-1.0, float("nan"), float("inf")) if kind is float else (-1,):
            with pytest.raises(ConfigError, match=name):
                dataclasses.replace(plain, **{name: value})  # type: ignore[type-var]

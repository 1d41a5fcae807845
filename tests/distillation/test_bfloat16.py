"""Real rows embedded in bfloat16, which is the default of objectives that embed many of them."""

from __future__ import annotations

import pytest
from bfloat16_losses import HALVED, loss_and_gradient

from decoct.distillation.recipes.table import OBJECTIVES


def test_every_objective_that_halves_its_precision_is_here():
    kinds = {OBJECTIVES.load(name) for name in OBJECTIVES}
    assert {"ridge", "distribution", "random-features", "characteristic"} <= set(HALVED)
    assert sum("bfloat16" in kind.__dataclass_fields__ for kind in kinds) == 4


@pytest.mark.parametrize("name", HALVED)
def test_the_loss_and_its_gradient_are_nearly_those_of_float32(name, monkeypatch):
    monkeypatch.setattr("decoct.training.pieces.native_bfloat16", lambda _: True)
    (loss, gradient), (exact, slope) = (loss_and_gradient(name, "cpu", halved) for halved in (True, False))
    assert 0 < abs(loss - exact) < 0.01 * exact
    assert 0 < (gradient - slope).norm() < 0.03 * slope.norm()

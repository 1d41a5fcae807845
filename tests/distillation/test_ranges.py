"""Settings out of range are told by name where they are set, not by an arithmetic error in the middle of a run."""

from __future__ import annotations

import pytest
from toys import blob_images

import decoct
from decoct.distillation.labels.learned import Learned
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.objective.implicit import Implicit
from decoct.distillation.objective.random_features import RandomFeatures
from decoct.distillation.objective.ridge import Ridge
from decoct.errors import ConfigError

WRONG = {
    Distribution: {"real_per_class": 0, "pool": -1, "renew_every": 0, "ce_weight": -0.5},
    Ridge: {"real_batch": 0, "pool": 0, "max_age": 0, "reg": -1.0, "online_lr": 0.0, "margin": -0.1},
    RandomFeatures: {
        "real_batch": 0, "networks": 0, "pool": -1, "renew_every": 0, "max_age": -1, "reg": -1.0, "bias": -0.1,
        "online_lr": 0.0,
    },
    Implicit: {
        "real_batch": 0, "pool": 0, "max_age": 0, "inner_steps": -1, "hvp_steps": -1, "l2": -1.0, "reg": float("nan"),
        "online_lr": 0.0,
    },
    Learned: {"confidence": 1.0},
}  # fmt: skip
CASES = [(kind, name, value) for kind, wrong in WRONG.items() for name, value in wrong.items()]


@pytest.mark.parametrize(("kind", "name", "value"), CASES)
def test_a_setting_out_of_range_is_told_by_name(kind, name, value):
    with pytest.raises(ConfigError) as told:
        kind(**{name: value})
    text = str(told.value)
    assert f"setting {name} of the {'labels' if kind is Learned else 'objective'}" in text
    assert repr(value) in text
    assert f"give another {name}" in text


def test_a_pool_beside_a_queue_is_refused():
    with pytest.raises(ConfigError, match=r"setting pool of the objective 'distribution'(.|\n)*with networks='queue'"):
        Distribution(networks="queue", pool=3)


def test_the_least_that_is_allowed_is_allowed():
    Distribution(real_per_class=1, pool=0, renew_every=1)
    Ridge(real_batch=1, pool=1, max_age=1, reg=0.0)
    RandomFeatures(real_batch=1, networks=1, pool=0, renew_every=1)
    Implicit(real_batch=1, pool=1, max_age=1, inner_steps=0, hvp_steps=0)


@pytest.mark.parametrize("confidence", [0.2, 1 / 3])
def test_a_confidence_below_chance_is_told_with_the_number_of_classes(confidence):
    with pytest.raises(ConfigError, match=r"above 1/3, the share of each of 3 classes"):
        decoct.distill(blob_images(), "dm", labels=Learned(confidence), ipc=1, steps=1, network="convnet2-w4")

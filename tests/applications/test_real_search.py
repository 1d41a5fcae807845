"""HCDC on Fashion-MNIST: one condensed validation image a class orders weight decay, smoothing and operations."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import decoct
from decoct.applications.candidates import Search
from decoct.applications.hyperparameter_search import condensing, hyperparameter_search
from decoct.data.dataset import Dataset
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.hypergradient import Hypergradient
from decoct.distillation.recipe import Recipe
from decoct.distillation.storage.pixels import Pixels
from decoct.training.hyperparameters import LabelSmoothing, OperationMixture, WeightDecay
from decoct.training.responses import Walk
from decoct.training.solvers import ConjugateGradient
from decoct.training.space import Space

DATA = Path(os.environ.get("DECOCT_DATA", Path(__file__).parents[3] / "shared" / "data")) / "fashion-mnist.npz"
SPACE = Space((WeightDecay(1e-4, 0.3, per_layer=False), LabelSmoothing(), OperationMixture()))
WALK = Walk(
    starts=4, length=4, step=0.25, first_steps=60, next_steps=30, solver=ConjugateGradient(steps=8, damping=1e-2)
)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason=f"no real data at {DATA}: set DECOCT_DATA")
def test_matched_hypergradients_order_candidates_of_fashion_mnist(tmp_path):
    whole = decoct.open(f"npz:{DATA}")
    parts = [
        split.take(torch.cat([torch.from_numpy(rows[:count]) for rows in split.class_rows(10)]))
        for split, count in ((whole.train, 60), (whole.val, 50), (whole.test, 1))
    ]
    data = Dataset(whole.spec, *parts)
    train = decoct.select(data, "herding", ipc=5, features="pixels", out=tmp_path / "train")
    sets = {"herding": decoct.select(condensing(data), "herding", ipc=1, features="pixels")}
    objective = Hypergradient(space=SPACE, walk=WALK, train_set=str(tmp_path / "train"), metric="relative")
    point = Recipe(Pixels(), objective, Hard(), lr=0.03, schedule="cosine", steps=80, augment="")
    sets["hcdc-length"] = decoct.distill(data, point, ipc=1, network="convnet2-w4", device="cpu")
    found = hyperparameter_search(
        data, train, sets, SPACE, network="convnet2-w4", seeds=2,
        search=Search(candidates=16, steps=60, full_steps=80),
    )  # fmt: skip
    measured = {one.name: one for one in found.orderings}
    matched, random, whole = (measured[name] for name in ("hcdc-length", "random", "whole split"))
    # What the small training set leaves to order by is a ceiling, which ten matched images reach.
    assert matched.same_networks.spearman.value > 0.85
    assert matched.agreement.spearman.value > whole.agreement.spearman.value - 0.1
    assert matched.agreement.regret.value < random.agreement.regret.value

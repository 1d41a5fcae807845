"""One small member of every kind on each axis of the grid: a new one is one more line here."""

from __future__ import annotations

from dataclasses import replace

from decoct.distillation.labels.hard import Hard
from decoct.distillation.labels.learned import Learned
from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.objective.characteristic import Characteristic
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.objective.gradient import Gradient
from decoct.distillation.objective.hypergradient import Hypergradient
from decoct.distillation.objective.implicit import Implicit
from decoct.distillation.objective.nothing import Nothing
from decoct.distillation.objective.random_features import RandomFeatures
from decoct.distillation.objective.ridge import Ridge
from decoct.distillation.objective.statistics import Statistics
from decoct.distillation.objective.tangent import Tangent
from decoct.distillation.objective.trajectory import Trajectory
from decoct.distillation.objective.unroll import Unroll
from decoct.distillation.queue import QueueConfig
from decoct.distillation.storage.bases import Bases
from decoct.distillation.storage.generator import Generator
from decoct.distillation.storage.multiformation import Multiformation
from decoct.distillation.storage.patches import Patches
from decoct.distillation.storage.pixels import Pixels
from decoct.training.config import FitConfig
from decoct.training.responses import Walk
from decoct.training.solvers import ConjugateGradient

SHORT_QUEUE = QueueConfig(size=3, start=2, renew_every=2, train_steps=2, warm_steps=2, batch=8)
STORAGES = {"pixels": Pixels(), "multiformation": Multiformation()}
STORAGES["patches"] = Patches(images=4, crops=2, epochs=1)
STORAGES["bases"] = Bases(max_per_class=3)
STORAGES["generator"] = Generator("small-decoder-z8-w2", train_steps=1, max_per_class=3, learn_decoder=True)
OBJECTIVES = {
    "distribution": Distribution(real_per_class=8, pool=2, renew_every=2),
    "fresh-distribution": Distribution(real_per_class=8),
    "queued-distribution": Distribution(real_per_class=8, networks="queue", ce_weight=1.0, queue=SHORT_QUEUE),
    "characteristic": Characteristic(
        real_per_class=8, frequencies=16, queue=SHORT_QUEUE, keep_real=True, learned_frequencies=True
    ),
    "ridge": Ridge(real_batch=16, pool=2, max_age=3),
    "gradient": Gradient(real_per_class=8, outer_loops=2, inner_epochs=1),
    "idc-gradient": Gradient(
        metric="mse",
        real_per_class=8,
        outer_loops=3,
        train_on="real",
        inner_rows=16,
        net_momentum=0.9,
        pool=2,
        renew_every=2,
    ),
}
OBJECTIVES["margin-ridge"] = Ridge(real_batch=16, pool=2, max_age=3, margin=0.1)
OBJECTIVES["random-features"] = RandomFeatures(real_batch=16, networks=2)
OBJECTIVES["kept-random-features"] = RandomFeatures(real_batch=16, networks=1, pool=2, renew_every=2, max_age=3)
OBJECTIVES["tangent"] = Tangent(real_batch=16)
OBJECTIVES["implicit"] = Implicit(real_batch=16, pool=2, inner_steps=2, hvp_steps=2)
OBJECTIVES["hypergradient"] = Hypergradient(
    train_per_class=2, val_rows=6, points=2,
    walk=Walk(starts=2, length=2, first_steps=2, next_steps=1, solver=ConjugateGradient(steps=2, damping=0.1)),
)  # fmt: skip
OBJECTIVES["trajectory"] = Trajectory(
    inner_steps=3, batch=4, experts=2, max_start_epoch=2,
    expert=FitConfig(lr=0.05, momentum=0.0, weight_decay=0.0, epochs=3, batch_size=16, schedule="constant"),
)  # fmt: skip
OBJECTIVES["first-order-trajectory"] = replace(OBJECTIVES["trajectory"], mode="first-order", expert_rows=8)
OBJECTIVES["unroll"] = Unroll(inner_steps=2, real_batch=16)
OBJECTIVES["unroll-window"] = Unroll(
    inner_steps=3, window=2, optimizer="adam", learn_lr="each", batch_per_class=1, augment="independent", real_batch=16
)
OBJECTIVES["statistics"] = Statistics(epochs=1, bn_weight=0.1)
OBJECTIVES["none"] = Nothing()
LABELS = {"hard": Hard(), "learned": Learned(), "teacher": Teacher(epochs=1)}
LABELS["views"] = Teacher(epochs=1, epoch="student", top_k=2, views=2)

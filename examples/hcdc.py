"""HCDC: condense the validation digits to one a class, and let optuna search weight decay and smoothing on them."""

import optuna
import torch

import decoct
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.hypergradient import Hypergradient
from decoct.distillation.recipe import Recipe
from decoct.distillation.storage.pixels import Pixels
from decoct.networks.build import network
from decoct.training.flat import FlatNetwork
from decoct.training.hyperparameters import LabelSmoothing, WeightDecay
from decoct.training.responses import Rows, Walk, train_at, validation_loss
from decoct.training.space import Space

data = decoct.open("digits")
space = Space((WeightDecay(per_layer=False), LabelSmoothing()))
matched = Hypergradient(space=space, walk=Walk(starts=2, length=5), full_per_class=100)
recipe = Recipe(Pixels(), matched, Hard(), steps=100, lr=0.02, augment="", network="convnet2-w4")
small = decoct.distill(data, recipe, ipc=1)
print(f"{len(small)} validation images, agreement of hypergradients {small.provenance['best_agreement']:.2f}")

sets = [decoct.select(data, ipc=5).materialize(), small.materialize(), (data.inputs(data.val), data.val.labels(), 0)]
train, few, every = (Rows(x, torch.eye(10)[y]) for x, y, _ in sets)
net = FlatNetwork(network("convnet2-w4", data.spec.shape, 10, 0))
start = net.flatten(net.module)


def loss(trial: optuna.Trial) -> float:
    u = torch.tensor([trial.suggest_float(name, 0.0, 1.0) for name in space.names(net)])
    theta = train_at(net, space, u, start, start, train, steps=60, lr=0.01)
    trial.set_user_attr("every", validation_loss(net, theta, every).item())
    return validation_loss(net, theta, few).item()


study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
study.optimize(loss, n_trials=15)
chosen, worst = study.best_trial.user_attrs["every"], max(t.user_attrs["every"] for t in study.trials)
print(f"chosen: {study.best_params}, loss on all validation rows {chosen:.3f}, at worst {worst:.3f}")

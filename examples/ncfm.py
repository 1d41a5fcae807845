"""Characteristic functions: digits whose features have the whole distribution of the real ones, not only the mean."""

import decoct
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.characteristic import Characteristic
from decoct.distillation.queue import QueueConfig
from decoct.distillation.recipe import Recipe
from decoct.distillation.storage.pixels import Pixels

data = decoct.open("digits")
queue = QueueConfig(size=3, start=3, train_every=5, train_steps=5, warm_steps=30, batch=64)
objective = Characteristic(real_per_class=64, frequencies=128, queue=queue, keep_real=True, learned_frequencies=True)
recipe = Recipe(Pixels(), objective, Hard(), optimizer="adam", lr=0.03)
small = decoct.distill(data, recipe, ipc=2, steps=40, network="convnet2-w16", looks=2)
print(f"{len(small)} images in {small.nbytes.total} bytes, {small.provenance['best_val_accuracy']:.1%} on validation")

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())

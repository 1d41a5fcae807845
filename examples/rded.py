"""RDED: the crops of real digits that a teacher is surest of, with its labels of four views replayed by seed."""

import decoct
from decoct.distillation.labels.teacher import Teacher

data = decoct.open("digits")
small = decoct.distill(data, "rded", labels=Teacher(epochs=8, views=4), ipc=2, network="convnet2-w16", seed=0)
print(f"{len(small)} crops in {small.nbytes.images} bytes, {small.nbytes.labels} bytes of labels")

inputs, targets = small.view(3)
seed = small.learned["views"]["seed"]
print(f"view 3, replayed from seed {seed}: {tuple(inputs.shape)} with labels {tuple(targets.shape)}")

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())

"""Teacher labels: a network trained on the real digits says what it sees in every synthetic one."""

import decoct
from decoct.distillation.labels.teacher import Teacher

data = decoct.open("digits")
labels = Teacher(epochs=3, temperature=2.0)
small = decoct.distill(data, "dm", labels=labels, ipc=2, steps=16, network="convnet2-w16", looks=2)
_, targets, _ = small.materialize()
print(f"labels are {small.label_kind} of shape {tuple(targets.shape)}, {small.nbytes.labels} bytes")

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random+teacher"])
print(card.table())

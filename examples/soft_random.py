"""Random real digits with a teacher's labels: the pass of the teacher is chosen by how well a student learns."""

import decoct
from decoct.distillation.labels.teacher import Teacher

data = decoct.open("digits")
small = decoct.distill(data, "soft-random", ipc=2, network="convnet2-w16", seed=0)
teacher = small.learned["teacher"]
print(f"labels of pass {teacher['epoch']} of {teacher['of']}, {small.nbytes.labels} bytes of labels")

shorter = decoct.distill(data, "soft-random", labels=Teacher(top_k=3), ipc=2, network="convnet2-w16", seed=0)
print(f"with the 3 largest entries of each: {shorter.nbytes.labels} bytes")

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())

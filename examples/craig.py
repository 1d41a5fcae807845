"""CRAIG: rows whose gradients stand for those of all; the weights, 1 on average, say for how many each of them does."""

import decoct

data = decoct.open("digits")
core = decoct.select(data, "craig", ipc=5)
each = len(data.train) / len(core)
print("of class 0 the picks stand for", *(f"{float(w) * each:.0f}" for w in core.weights[core.classes == 0]), "rows")

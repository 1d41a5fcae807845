"""Continual learning: digits arrive two classes at a time, and a memory of 3 kB is all that is kept of the old ones."""

import decoct
from decoct.applications.continual import ContinualConfig, continual

data = decoct.open("digits")
config = ContinualConfig(tasks=5, nbytes=3300, steps=20, network="convnet2-w8")
result = continual(data, ["random", "dm"], config, seeds=2)
print(result.table())

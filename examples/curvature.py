"""How much can a small set still teach a network that has begun to learn from real digits?"""

import decoct
from decoct.analysis.curvature import Curvature
from decoct.analysis.routine import Routine

data = decoct.open("digits")
small = decoct.select(data, "herding", ipc=3)
asked = Curvature(looks=6, probes=5, routine=Routine(steps=100))
print(decoct.analyze(asked, small, data, network="mlp-w32", seeds=2).table())

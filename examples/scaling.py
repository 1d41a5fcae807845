"""How do images and label entries trade against each other, and how many real digits is a small set worth?"""

import decoct
from decoct.analysis.routine import Routine
from decoct.analysis.scaling import Scaling

data = decoct.open("digits")
small = decoct.select(data, "herding", ipc=3)
asked = Scaling(ipc=(1, 4, 16), entries=(1, 10), epochs=(3, 12), routine=Routine(steps=60, lr=0.05))
print(decoct.analyze(asked, small, data, network="mlp-w32", seeds=2).table())

"""Do networks of real digits know the images of a small set, and networks of the set real digits?"""

import decoct
from decoct.analysis.routine import Routine
from decoct.analysis.substitutability import Substitutability

data = decoct.open("digits")
small = decoct.select(data, "herding", ipc=3)
asked = Substitutability(epochs=10, routine=Routine(steps=100))
print(decoct.analyze(asked, small, data, network="mlp-w32", seeds=2).table())

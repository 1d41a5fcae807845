"""What does each image of a small set teach, and what do the digits that learn from it share?"""

import decoct
from decoct.analysis.influence import Influence
from decoct.analysis.routine import Routine

data = decoct.open("digits")
small = decoct.select(data, "herding", ipc=2)
asked = Influence(top=10, epochs=3, routine=Routine(steps=100))
print(decoct.analyze(asked, small, data, network="mlp-w32", seeds=2).table())

"""Is a digit of which no image is left still learned from the soft labels of the others?"""

import decoct
from decoct.analysis.removed import Removed
from decoct.analysis.routine import Routine

data = decoct.open("digits")
small = decoct.select(data, "herding", ipc=10)
asked = Removed(classes=3, epochs=10, temperature=4.0, routine=Routine(steps=100))
print(decoct.analyze(asked, small, data, network="mlp-w32", seeds=2).table())

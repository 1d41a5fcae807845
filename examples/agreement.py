"""Does a small set train networks like early training on real digits, or like fewer digits?"""

import decoct
from decoct.analysis.agreement import Agreement
from decoct.analysis.routine import Routine

data = decoct.open("digits")
small = decoct.select(data, "herding", ipc=3)
asked = Agreement(looks=10, shares=(0.01, 0.03, 0.1), routine=Routine(steps=100))
print(decoct.analyze(asked, small, data, network="mlp-w32", seeds=3).table())

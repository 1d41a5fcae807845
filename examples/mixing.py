"""Does a small set stay good when real images are added to it?"""

import decoct
from decoct.analysis.mixing import Mixing
from decoct.analysis.routine import Routine

data = decoct.open("digits")
small = decoct.distill(data, "dm", ipc=2, steps=20, network="convnet2-w8", looks=2)
asked = Mixing(added=(0, 2, 10), routine=Routine(steps=100, lr=0.05))
print(decoct.analyze(asked, small, data, network="mlp-w32", seeds=3).table())

"""Architecture search: rank eight networks by 5 digits a class, and compare with training them on all digits."""

from dataclasses import replace

import decoct
from decoct.applications.architecture_search import PROTOCOL, Space, architecture_search

data = decoct.open("digits")
space = Space(depths=(1, 2), widths=(4,), norms=("in", "none"), activations=("relu",), poolings=("avg", "max"))
protocol = replace(PROTOCOL, fit=replace(PROTOCOL.fit, epochs=15), full_epochs=3, checks=1)
small = decoct.select(data, "k-center", ipc=5)
found = architecture_search(data, {"k-center": small}, space, seeds=2, protocol=protocol, early_epochs=1)
print(found.table())
print(found.finding().sentence)

"""Facility location: rows of which every other row has a near one; gains fall, so the list may be cut anywhere."""

import decoct

data = decoct.open("digits")
core = decoct.select(data, "facility-location", count=40, balance="global")
print("coverage gained by pick 1, 2, 5, 20, 40:", *(f"{core.scores[i - 1]:.2f}" for i in (1, 2, 5, 20, 40)))
print("classes of the first ten, none asked for:", *core.classes[:10].tolist())

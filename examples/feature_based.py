"""Feature-based: every feature gets its share, the first of each counting most; here features are ink in each pixel."""

import decoct
from decoct.selection.feature_based import FeatureBased

data = decoct.open("digits")
ink = data.train.raw().flatten(1).float() / 255
core = decoct.select(data, FeatureBased(concave="log"), count=30, balance="global", features=ink.numpy())
chance = decoct.select(data, "random", count=30, balance="global")
for name, rows in (("feature-based", core.indices), ("random", chance.indices)):
    print(f"{name}: {int((ink[rows].sum(0) > 0).sum())} of 64 pixels have ink in 30 rows")

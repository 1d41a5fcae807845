"""Rows by one number each: hardest, middle and easiest by the margin that a network had over its training (AUM)."""

import decoct

data = decoct.open("digits")
table, dynamics = decoct.score(data, epochs=10)
sure = dynamics.probability.mean(1)
for method in ("hardest", "middle", "easiest"):
    core = decoct.select(data, method, fraction=0.1, features=table.columns["aum"][:, None])
    print(f"{method}: probability of their own label, over the training, {float(sure[core.indices].mean()):.2f}")

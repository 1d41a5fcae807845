"""Kernel thinning: halve the rows so that their mean stays; nearer to that of all rows than chance is."""

import decoct

data = decoct.open("digits")
rows = data.inputs(data.train).flatten(1)
for method in ("kernel-thinning", "random"):
    core = decoct.select(data, method, count=100, balance="global", seed=0)
    error = float((rows[core.indices].mean(0) - rows.mean(0)).norm())
    print(f"{method}: 100 rows, mean off by {error:.2f}")

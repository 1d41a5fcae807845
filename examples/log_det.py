"""Log-determinant: the rows that span the largest volume; beside herding they are further from each other."""

import torch

import decoct

data = decoct.open("digits")
rows = data.inputs(data.train).flatten(1)
for method in ("log-det", "herding"):
    picks = rows[decoct.select(data, method, ipc=2).indices]
    gaps = torch.cdist(picks, picks).fill_diagonal_(float("inf")).min(1).values
    print(f"{method}: 20 rows, distance to the nearest other pick {float(gaps.mean()):.1f} on average")

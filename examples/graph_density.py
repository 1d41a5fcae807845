"""Graph density: rows in the thick of many others first; an outlier never comes first."""

import torch

import decoct

data = decoct.open("digits")
rows = data.inputs(data.train).flatten(1)
near = torch.cdist(rows, rows).topk(11, largest=False).values[:, 1:].mean(1)
core = decoct.select(data, "graph-density", count=30, balance="global")
print(
    f"mean distance to ten neighbours: {float(near[core.indices].mean()):.1f} of picks, {float(near.mean()):.1f} of all"
)

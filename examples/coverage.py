"""Coverage-centric sampling: the hardest tenth goes, the rest is drawn evenly over the scores, easy rows and hard."""

import torch

import decoct
from decoct.selection.coverage import Coverage

data = decoct.open("digits")
table, _ = decoct.score(data, epochs=10)
hard = table.columns["aum"]
core = decoct.select(data, Coverage(drop=0.1), fraction=0.1, features=hard[:, None], balance="global")
cut = hard.quantile(torch.tensor([0.25, 0.5, 0.75, 0.9]))
place = torch.bucketize(hard[core.indices], cut)
print("picks by difficulty, easiest quarter first, hardest tenth last:", *place.bincount(minlength=5).tolist())

"""Graph cut: near everything, far from each other; the balance says how much the first counts."""

import torch

import decoct
from decoct.selection.graph_cut import GraphCut

data = decoct.open("digits")
rows = data.inputs(data.train).flatten(1)
for balance in (2.0, 20.0, 200.0):
    picks = rows[decoct.select(data, GraphCut(balance=balance), count=40, balance="global").indices]
    print(f"balance {balance:g}: 40 rows, mean distance among them {float(torch.cdist(picks, picks).mean()):.1f}")

"""What to do with a selection: why a row is in it, the rows in your own torch data set, and files to take away."""

import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import decoct
from decoct.compact.export import export
from decoct.selection.explain import explain

pixels, labels = load_digits(return_X_y=True)
mine = TensorDataset(torch.tensor(pixels, dtype=torch.float32), torch.tensor(labels))
data = decoct.open(mine)
core = decoct.select(data, "k-means", ipc=5)

print(explain(core, data, int(core.indices[0])).sentence)
left = next(row for row in range(len(data.train)) if row not in core.indices.tolist())
print(explain(core, data, str(data.train.ids[left])).sentence)

subset = core.to_subset(mine)  # the very rows, in the order picked
loader = DataLoader(subset, batch_size=25, sampler=core.sampler(seed=0))
print("batches:", *(tuple(x.shape) for x, _ in loader))

with tempfile.TemporaryDirectory() as folder:
    for form, name in (("parquet", "core.parquet"), ("datacomp", "core.npy"), ("hub", "core-hub")):
        path = export(core, form, Path(folder) / name)
        print(f"{form}: {sorted(file.name for file in path.rglob('*')) or path.name}")

"""DEEPDISTAL: a detector of made digits, its training set chosen in rounds; people are groups, so nothing leaks."""

import numpy as np
import torch
from sklearn.datasets import load_digits

import decoct
from decoct.data.groups import split_by_group
from decoct.evaluation.real_or_fake import judge_detector
from decoct.selection.deepdistal import DeepDistal

real = np.asarray(load_digits(return_X_y=True)[0])
mean = real.mean(0)
_, _, axes = np.linalg.svd(real - mean, full_matrices=False)
made = ((real - mean) @ axes[:12].T @ axes[:12] + mean).clip(0, 16)  # what 12 principal components leave of a digit
images = (np.concatenate([real, made]) * (255 / 16)).reshape(-1, 8, 8).astype(np.uint8)
labels = np.repeat([0, 1], len(real))

data = decoct.open((images, labels))
ids = [*data.train.ids, *data.val.ids, *data.test.ids]
writers = {name: str(int(name.split("/")[1]) % len(real) // 60) for name in ids}  # a digit and its copy: one writer
data = split_by_group(data, writers, val_fraction=0.2, test_fraction=0.2)

core = decoct.select(data, DeepDistal(rounds=3, epochs=10), count=200)
for part in core.provenance["record"]:
    print(part)
for name, rows in (("deepdistal", core.indices), ("all", torch.arange(len(data.train)))):
    judged = judge_detector(data.with_train(rows), {"unseen writers": data.test}, network="mlp", steps=200, seeds=[0])
    found = judged["unseen writers"]
    print(f"{name}: {len(rows)} rows, AUC {found.auc:.3f}, equal error rate {found.eer:.3f}")

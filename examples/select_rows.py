"""A tenth of your own arrays, chosen, looked at and handed to torch."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

import decoct


def main() -> None:
    # Any images [n, h, w] or [n, h, w, c] and any whole-number labels [n] will do.
    pixels, labels = load_digits(return_X_y=True)
    images = (np.asarray(pixels).reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    data = decoct.open((images, np.asarray(labels)))

    coreset = decoct.select(data, "herding", fraction=0.1, seed=0)
    print(f"{len(coreset)} of {len(data.train)} training images, {coreset.nbytes.total} bytes")
    print("first picks, one a class:", coreset.indices[:10].tolist(), coreset.ids[:10].tolist())

    # Features of your own, one row for each of data.train, work for every method.
    brightness = data.inputs(data.train).flatten(1).mean(1, keepdim=True)
    spread = decoct.select(data, "k-center", ipc=3, features=brightness)
    print("covering radius of the last pick of each class:", spread.scores[-10:].tolist())

    for inputs, targets, weights in DataLoader(coreset.to_torch(), batch_size=64):
        print("a batch:", tuple(inputs.shape), targets[:10].tolist(), weights[:3].tolist())


if __name__ == "__main__":
    main()

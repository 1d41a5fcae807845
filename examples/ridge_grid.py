"""ridge-grid: four half-size images with learned scores, all in the bytes of one real image a class with its label."""

import numpy as np
from sklearn.datasets import load_digits

import decoct

pixels, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
images = (pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
data = decoct.open((images, labels))  # grids want images of 16 pixels and more
small = decoct.distill(data, "ridge-grid", ipc=1, steps=30, network="convnet2-w16", looks=2)
room = data.spec.classes * (data.spec.row_bytes + 1)
print(f"{len(small)} images with {small.label_kind} in {small.nbytes.total} bytes; 10 real rows take {room}")

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())

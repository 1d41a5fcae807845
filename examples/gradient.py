"""IDC: gradients matched through a network that learns on real digits, four smaller images in each stored one."""

import decoct

data = decoct.open("digits")
small = decoct.distill(data, "idc", ipc=1, steps=20, network="convnet2-w16", looks=2)
print(f"{len(small)} images of {small.storage} in {small.nbytes.total} bytes")

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())

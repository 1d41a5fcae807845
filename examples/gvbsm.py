"""G-VBSM: one set recovered from the statistics of several networks, which label it together."""

import decoct

data = decoct.open("digits")
small = decoct.distill(data, "gvbsm", ipc=2, steps=40, network="convnet2-w16-bn", looks=2)
teacher = small.learned["teacher"]
names = [teacher["network"], *(other["network"] for other in teacher["others"])]
print(f"{len(small)} images, labels are the mean of what {', '.join(names)} say")

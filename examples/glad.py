"""Latents of a generator: a small decoder is trained on the digits, then only what goes into it is distilled."""

import decoct
from decoct.distillation.storage.generator import Generator

data = decoct.open("digits")
storage = Generator(decoder="small-decoder-z8-w8", train_steps=100)
small = decoct.distill(data, "glad", storage=storage, ipc=1, steps=10, network="convnet2-w16", looks=2)
print(f"{len(small)} images out of {small.nbytes.images} bytes of latents and {small.nbytes.decoder} of decoder")

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())

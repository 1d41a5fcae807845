"""CDA: recovery whose crops are whole images at first and shrink over the run, from the gist to the detail."""

import decoct

data = decoct.open("digits")
small = decoct.distill(data, "cda", ipc=2, steps=40, network="convnet2-w16-bn", looks=2)
settings = small.provenance["settings"]["objective"]
print(f"{len(small)} images from {settings['backbones'][0]}, crops shrink over {settings['curriculum']:.0%} of the run")

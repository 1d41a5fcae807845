"""auto: the machine is measured for a few seconds, and storage, objective, width and steps follow from the budget."""

import decoct

data = decoct.open("digits")
small = decoct.distill(data, "auto", ipc=1, budget="8s", seed=0)
facts = small.provenance
print(f"{small.storage}, {len(small)} images, {facts['steps_done']} steps of {facts['network']}")
print(f"{facts['best_val_accuracy']:.1%} on validation")

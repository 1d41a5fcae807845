"""KIP on digits: the tangent kernel of a wide network needs no network at all, so a step takes milliseconds."""

import decoct

data = decoct.open("digits")
small = decoct.distill(data, "kip", ipc=1, steps=100, network="mlp-w128", looks=2)
print(f"best set after {small.provenance['best_step']} of {small.provenance['steps_done']} steps:")
print(f"{small.provenance['best_val_accuracy']:.1%} on validation")

card = decoct.evaluate(small, data, "quick", networks=["mlp-w128"], seeds=2, baselines=["random"])
print(card.table())

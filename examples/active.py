"""Active learning: train, ask for the labels of rows it is unsure of, train again; every round is recorded."""

import decoct
from decoct.selection.active import Active

data = decoct.open("digits")
core = decoct.select(data, Active(rounds=3), count=120)
for part in core.provenance["record"][1:]:
    print(
        f"trained on {part['trained_on']}, {part['val_accuracy'][0]:.0%} on validation, then {part['added']} more rows"
    )

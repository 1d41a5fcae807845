"""Coloured digits, 5 % of which carry another colour than their class: weights that undo the bias, and what is left."""

from pathlib import Path
from tempfile import TemporaryDirectory

import decoct
from decoct.trust.bias.make import Bias, make_biased
from decoct.trust.bias.measure import measure_bias
from decoct.trust.bias.reweight import by_early_errors, by_groups

with TemporaryDirectory() as folder:
    source = make_biased(decoct.open("digits"), Bias(correlation=0.95), Path(folder) / "digits")
    print({part: f"{facts['aligned']:.0%} aligned" for part, facts in source.facts["splits"].items()})

    weights = {
        "no weights": None,
        "by early errors": by_early_errors(source.data, network="convnet2-w16"),
        "by known groups": by_groups(source.data, source.groups),
    }
    for name, table in weights.items():
        small = decoct.distill(source.data, "dm", ipc=5, steps=30, network="convnet2-w16", weights=table, looks=1)
        found = measure_bias(
            small, source.data, source.groups, network="convnet2-w16", seeds=2, out=Path(folder) / "measured"
        )
        print(f"{name}: {found.table()}\n")

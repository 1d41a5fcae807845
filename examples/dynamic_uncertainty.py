"""Dynamic uncertainty: rows about which a network changed its mind while it learned, beside rows it was sure of."""

import decoct

data = decoct.open("digits")
table, dynamics = decoct.score(data, epochs=10)
core = decoct.select(data, "dyn-unc", fraction=0.1, features=table.for_rows(data.train.ids.tolist(), "dyn-unc"))
path = dynamics.probability[core.indices[0]]
print("probability of its label, pass by pass, of the first pick:", *(f"{value:.2f}" for value in path.tolist()))
calm = int(table.columns["dyn-unc"].argmin())
print("and of the calmest row:", *(f"{value:.2f}" for value in dynamics.probability[calm].tolist()))

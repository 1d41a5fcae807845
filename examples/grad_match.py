"""GradMatch: few rows with weights whose gradients add up to the mean of all rows; the scores say what is missing."""

import decoct

data = decoct.open("digits")
core = decoct.select(data, "grad-match", ipc=5)
own = core.scores[core.classes == 0]
print("mean gradient of class 0 missed with 1 to 5 rows by", *(f"{share:.0%}" for share in own.tolist()))

"""k-center: always the row farthest from all picks; the scores say how far, so the covering radius falls."""

import decoct
from decoct.selection.k_center import KCenter

data = decoct.open("digits")
picked = decoct.select(data, KCenter(), count=50, balance="global")
print("rows picked:", *picked.indices[:10].tolist(), "...")
print("distance of each pick to those before:", *(f"{score:.1f}" for score in picked.scores[:10].tolist()), "...")

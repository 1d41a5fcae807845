"""Herding: real digits, one after the other, that keep the mean of the features; any beginning is a good set."""

import decoct

data = decoct.open("digits")
picked = decoct.select(data, "herding", ipc=10)
print("the first ten ids picked:", *picked.ids[:10])
print("their classes:", *picked.classes[:10].tolist())

features = data.inputs(data.train).flatten(1)
for m in (10, 30, 100):
    gap = features[picked.indices[:m]].mean(0) - features.mean(0)
    print(f"the mean of the first {m} picks is {gap.norm():.2f} from that of all {len(features)} rows")

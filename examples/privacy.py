"""Privacy: attack networks made from digits, look for copies in a set, and say what a private set costs."""

import decoct
from decoct.applications.privacy.copies import copies
from decoct.applications.privacy.dp import PrivateConfig, private_matching, public_view
from decoct.applications.privacy.membership import MembershipConfig, membership

data = decoct.open("digits")
config = MembershipConfig(models=6, ipc=5, network="mlp")
print(membership(data, ["real", "random"], config).table())

found = copies(decoct.select(data, "herding", ipc=5), data)
print(f"{int(found.flagged.sum())} of {len(found.distance)} selected images are copies, as they must be")

private = PrivateConfig(releases=20, rate=0.1, target=8.0, delta=1e-4, steps=100)
print(private_matching(public_view(data), ipc=5, config=private, name="convnet2-w16").claim())

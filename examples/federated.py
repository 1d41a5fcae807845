"""Federated learning: five clients send small sets of digits once, and a server trains on their union."""

import decoct
from decoct.applications.client_work import FederatedConfig
from decoct.applications.federated import federated

data = decoct.open("digits")
config = FederatedConfig(clients=5, alpha=0.5, ipc=5, steps=10, rounds=3, network="convnet2-w16")
result = federated(data, ["dm", "random"], config, seeds=2)
print(result.table())

"""The applications that have a name: what a compact set is used for."""

from __future__ import annotations

from decoct.registry import Registry

APPLICATIONS = Registry(
    "application",
    {
        "architectures": "decoct.applications.architecture_search:architecture_search",
        "continual": "decoct.applications.continual:continual",
        "federated": "decoct.applications.federated:federated",
        "graph": "decoct.applications.graph_orders:order_filters",
        "hyperparameters": "decoct.applications.hyperparameter_search:hyperparameter_search",
        "privacy": "decoct.applications.privacy.membership:membership",
    },
)
"""name -> the function that does it; `decoct apply NAME` has the options in `cli/apply_<name>.py`."""

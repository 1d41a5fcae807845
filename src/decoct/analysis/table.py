"""The analyses by name."""

from __future__ import annotations

from decoct.registry import Registry

ANALYSES = Registry(
    "analysis",
    {
        "agreement": "decoct.analysis.agreement:Agreement",
        "curvature": "decoct.analysis.curvature:Curvature",
        "influence": "decoct.analysis.influence:Influence",
        "mixing": "decoct.analysis.mixing:Mixing",
        "removed": "decoct.analysis.removed:Removed",
        "scaling": "decoct.analysis.scaling:Scaling",
        "substitutability": "decoct.analysis.substitutability:Substitutability",
    },
)

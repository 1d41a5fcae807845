"""The selectors that there are, by name."""

from __future__ import annotations

from dataclasses import replace

from decoct.cards import MethodCard
from decoct.registry import Registry, load_object
from decoct.selection.selector import Selector

METHODS = Registry(
    "selector",
    {
        "random": "decoct.selection.uniform:Uniform",
        "herding": "decoct.selection.herding:Herding",
        "k-center": "decoct.selection.k_center:KCenter",
        "k-means": "decoct.selection.k_means:KMeans",
        "k-median": "decoct.selection.k_median:KMedian",
        "ccs": "decoct.selection.coverage:Coverage",
        "facility-location": "decoct.selection.facility_location:FacilityLocation",
        "graph-cut": "decoct.selection.graph_cut:GraphCut",
        "log-det": "decoct.selection.log_det:LogDet",
        "feature-based": "decoct.selection.feature_based:FeatureBased",
        "graph-density": "decoct.selection.graph_density:GraphDensity",
        "kernel-thinning": "decoct.selection.kernel_thinning:KernelThinning",
        "semdedup": "decoct.selection.deduplicate:SemDeDup",
        "dyn-unc": "decoct.selection.dynamic_uncertainty:DynamicUncertainty",
        "easiest": "decoct.selection.by_score:Easiest",
        "hardest": "decoct.selection.by_score:Hardest",
        "middle": "decoct.selection.by_score:Middle",
        "glister": "decoct.selection.glister:Glister",
        "craig": "decoct.selection.craig:Craig",
        "grad-match": "decoct.selection.grad_match:GradMatch",
        "active": "decoct.selection.active:Active",
        "deepdistal": "decoct.selection.deepdistal:DeepDistal",
    },
)


def selector(method: str | Selector) -> Selector:
    """The selector of that name with its default options; a `Selector` is handed through.

    Raises `UnknownNameError` with the nearest names.
    """
    return method if isinstance(method, Selector) else METHODS.load(method)()


def card(name: str) -> MethodCard:
    """The card of a method: the constant `CARD` in the file that holds it. Raises `UnknownNameError`."""
    return replace(load_object(METHODS[name].partition(":")[0] + ":CARD"), name=name)


def method_name(method: Selector) -> str:
    """The name under which a selector is listed, else the name of its class."""
    listed = {target: name for name, target in METHODS.items()}
    kind = type(method)
    return listed.get(f"{kind.__module__}:{kind.__qualname__}", kind.__qualname__)

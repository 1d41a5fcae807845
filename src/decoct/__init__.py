"""decoct makes large training sets small and says honestly what that cost."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decoct.analysis.analyze import analyze as analyze
    from decoct.compact.coreset import Coreset as Coreset
    from decoct.compact.distilled import DistilledSet as DistilledSet
    from decoct.compact.load import load as load
    from decoct.data.open import open as open
    from decoct.distillation.driver import distill as distill
    from decoct.evaluation.compare import compare as compare
    from decoct.evaluation.judge import evaluate as evaluate
    from decoct.selection.driver import select as select
    from decoct.selection.scored import score as score

_PUBLIC = {
    "Coreset": "decoct.compact.coreset",
    "DistilledSet": "decoct.compact.distilled",
    "analyze": "decoct.analysis.analyze",
    "compare": "decoct.evaluation.compare",
    "distill": "decoct.distillation.driver",
    "evaluate": "decoct.evaluation.judge",
    "load": "decoct.compact.load",
    "open": "decoct.data.open",
    "score": "decoct.selection.scored",
    "select": "decoct.selection.driver",
}
__all__ = ["Coreset", "DistilledSet", "analyze", "compare", "distill", "evaluate", "load", "open", "score", "select"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import decoct` stays instant."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'decoct' has no attribute {name!r}; public names are {', '.join(__all__)}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__

"""What of Ray's failures reaches a person, without a cluster."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from decoct.errors import DecoctError
from decoct.scale import ray_engine as module
from decoct.scale.ray_engine import RayEngine

# Of Ray itself, when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]
exceptions = pytest.importorskip("ray").exceptions


def _failing(error: Exception) -> SimpleNamespace:
    def fail(*_: object, **__: object) -> None:
        raise error

    found = SimpleNamespace(map_batches=lambda *_, **__: SimpleNamespace(iter_batches=fail))
    data = SimpleNamespace(from_items=lambda *_, **__: found)
    return SimpleNamespace(get=fail, put=lambda _: None, data=data, exceptions=exceptions)


@pytest.mark.parametrize("error", [
    exceptions.OutOfMemoryError("Task was killed due to the node running low on memory"),
    exceptions.NodeDiedError("the machine is gone"),
    exceptions.WorkerCrashedError("a worker died"),
    exceptions.ObjectLostError("00", None, "an object is gone"),
], ids=lambda error: type(error).__name__)  # fmt: skip
def test_failures_of_ray_itself_are_typed(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    said = rf"(?s)received: {type(error).__name__}.*what to do: look at the memory of the workers"
    with pytest.raises(DecoctError, match=said) as found:
        module._result(_failing(error), None, 3)
    assert str(found.value).startswith("running work unit 3 on Ray")
    assert found.value.__cause__ is error
    monkeypatch.setattr(module, "import_ray", lambda: _failing(error))
    with pytest.raises(DecoctError, match=said):
        RayEngine(2).over(dict, {}, np.zeros((4, 2)), 2)  # type: ignore[arg-type]


def test_errors_of_the_work_itself_keep_their_text() -> None:
    error = exceptions.RayTaskError("work", "Traceback: the user's own words", ValueError("the user's own words"))
    with pytest.raises(ValueError, match="the user's own words"):
        module._result(_failing(error.as_instanceof_cause()), None, 3)
    with pytest.raises(exceptions.RayTaskError, match="the user's own words"):
        module._result(_failing(error), None, 3)

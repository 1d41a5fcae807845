"""What of Ray's failures reaches a person, without a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray_work import adding, failing, unmade

from decoct.errors import DataError, DecoctError
from decoct.scale import ray_engine as module
from decoct.scale.ray_engine import RayEngine

# Of Ray itself, when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]
ray = pytest.importorskip("ray")
exceptions = ray.exceptions


def _wrapping() -> SimpleNamespace:
    """Ray Data in this process: of what is raised in a worker its text alone comes back, as from a real cluster."""

    def map_batches(worker: Any, *, fn_constructor_kwargs: dict[str, Any], **_: Any) -> SimpleNamespace:
        def batches(**_: Any) -> Iterator[dict[str, Any]]:
            try:
                made = worker(**fn_constructor_kwargs)
            except Exception as error:
                raise exceptions.ActorDiedError() from error
            for number in range(len(fn_constructor_kwargs["blocks"])):
                try:
                    yield made({"id": np.array([number])})
                except Exception as error:
                    raise exceptions.RayTaskError("submit", repr(error), exceptions.UserCodeException()) from None

        return SimpleNamespace(iter_batches=batches)

    data = SimpleNamespace(from_items=lambda *_, **__: SimpleNamespace(map_batches=map_batches))
    return SimpleNamespace(
        get=lambda block: block, put=lambda block: block, data=data, exceptions=exceptions, cloudpickle=ray.cloudpickle
    )


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


@pytest.mark.parametrize(("make", "arguments", "kind", "said"), [
    (unmade, {"amount": 3}, DataError, "(?s)making the function.*received: 3"),
    (failing, {"kind": "typed"}, DataError, "(?s)looking at rows.*received: 2 rows"),
    (failing, {"kind": "plain"}, ValueError, "the user's own words"),
])  # fmt: skip
def test_work_on_rows_raises_what_the_function_raises(
    make: Callable[..., Any], arguments: dict[str, Any], kind: type[Exception], said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "import_ray", _wrapping)
    with pytest.raises(kind, match=said) as found:
        RayEngine(2).over(make, arguments, np.zeros((4, 2)), 2)
    assert type(found.value) is kind
    if kind is ValueError:
        assert "in a worker of Ray" in found.value.__notes__[0]
        assert "in over" in found.value.__notes__[0]


def test_an_error_that_cannot_travel_comes_as_ray_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "import_ray", _wrapping)
    with pytest.raises(exceptions.RayTaskError, match=r"OddError\('1 and 2'\)"):
        RayEngine(2).over(failing, {"kind": "odd"}, np.zeros((4, 2)), 2)
    found = RayEngine(2).over(adding, {"amount": 1.0}, np.ones((3, 2)), 2)
    assert found.tolist() == [[3, 2], [3, 2], [3, 1]]

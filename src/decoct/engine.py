"""Where work units run: in this process, or elsewhere. What comes out never depends on where or how many at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Shaped

Rows: TypeAlias = Shaped[np.ndarray, "_ ..."]


class Engine(ABC):
    """Runs a function on every unit of a list.

    The function lives at the top of a module, and so do the classes of units and results: they may travel to another
    process. It depends on its unit alone (seeds and paths stand in it) and may be run again after a worker was lost.
    """

    @abstractmethod
    def map(self, work: Callable[[Any], Any], units: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """(number of the unit, its result) as units are finished, in any order; raises what the function raises."""

    @abstractmethod
    def over(
        self, make: Callable[..., Callable[[Rows], Rows]], arguments: Mapping[str, Any], rows: Rows, block: int
    ) -> Rows:
        """One row for each of `rows`, in order: what `make(**arguments)`, made once in each worker, gives for them.

        It is given `block` rows at a time, always the same, wherever they are computed.
        """

    @property
    @abstractmethod
    def workers(self) -> int:
        """Units that run at the same time."""


class Local(Engine):
    """One unit after the other, in this process."""

    def map(self, work: Callable[[Any], Any], units: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for number, unit in enumerate(units):
            with one_thread():
                result = work(unit)
            yield number, result

    def over(
        self, make: Callable[..., Callable[[Rows], Rows]], arguments: Mapping[str, Any], rows: Rows, block: int
    ) -> Rows:
        with one_thread():
            worker = make(**arguments)
            return np.concatenate([worker(rows[start : start + block]) for start in range(0, len(rows), block)])

    @property
    def workers(self) -> int:
        return 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, and on as many as before afterwards.

    A product of matrices may round differently with another number of threads, and then two rows that are nearly
    alike change places. Units therefore compute on one thread each, wherever they run.
    """
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)

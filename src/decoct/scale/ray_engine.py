"""Work units on Ray: tasks for units, Ray Data for rows; on this machine or on a cluster.

Units follow from themselves alone and compute on one thread each, so the results are those of one process whatever the
number of workers, the order in which they end, or a worker that dies: Ray starts its task again elsewhere.

Moritz et al., "Ray: A Distributed Framework for Emerging AI Applications" (2018), https://arxiv.org/abs/1712.05889.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from decoct.engine import Engine, Rows, one_thread
from decoct.errors import ConfigError, DecoctError, MissingExtraError

RETRIES = 3
"""How often a unit is started again whose worker died."""
AHEAD = 2
"""Units given out for each worker: one that runs, and one that waits."""


@contextmanager
def ray_engine(workers: int | None = None, address: str | None = None) -> Iterator[RayEngine]:
    """Ray with `workers` processes on this machine (one a core by default), or the cluster at `address`.

    A Ray that runs in this process already is used and left running. On a cluster, folders that units read and write
    must be the same on every machine, and `workers` is how many units run at a time, all cores by default.
    Raises `MissingExtraError`, `ConfigError` for an address that does not answer or fewer than one worker.
    """
    ray = import_ray()
    if workers is not None and workers < 1:
        raise ConfigError(
            "starting Ray", received=f"workers={workers}", expected="1 or more",
            remedy="leave it out to use every core",
        )  # fmt: skip
    started = not ray.is_initialized()
    if started:
        _start(ray, workers, address)
    shown = ray.data.DataContext.get_current()
    before = shown.enable_progress_bars
    shown.enable_progress_bars = False
    try:
        yield RayEngine(workers or max(1, int(ray.cluster_resources().get("CPU", 1))))
    finally:
        shown.enable_progress_bars = before
        if started:
            ray.shutdown()


def _start(ray: Any, workers: int | None, address: str | None) -> None:
    # Nothing about the use of decoct leaves the machine unless the user says so.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is not None:
            ray.init(address=address, **quiet)
            return
        with _path_of_this_process():
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ConfigError(
            "starting Ray",
            received=f"address={address!r}: {str(error).partition(chr(10))[0][:300]}",
            expected="a Ray cluster that answers, or no address to start one on this machine",
            remedy="check the address with `ray status --address ...`, and that versions of Ray and Python agree",
        ) from error


@contextmanager
def _path_of_this_process() -> Iterator[None]:
    """Workers of a cluster that starts now find the modules that this process finds, such as the user's networks."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(part or os.getcwd() for part in sys.path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def import_ray() -> Any:
    """Ray with Ray Data; raises `MissingExtraError`."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError(
            "running work units on Ray",
            received=f"the package 'ray' cannot be imported ({error})",
            expected="Ray with Ray Data, version 2.40 or later",
            remedy="pip install 'decoct[ray]'",
        ) from error
    return ray


@dataclass(frozen=True)
class RayEngine(Engine):
    """Units as Ray tasks, rows as Ray Data; made by `ray_engine`."""

    asked: int

    @property
    def workers(self) -> int:
        return self.asked

    def map(self, work: Callable[[Any], Any], units: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        ray = import_ray()
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(_alone)
        waiting: dict[Any, int] = {}
        left = iter(range(len(units)))
        try:
            while True:
                for number in left:
                    waiting[task.remote(work, units[number])] = number
                    if len(waiting) >= AHEAD * self.asked:
                        break
                if not waiting:
                    return
                [done], _ = ray.wait(list(waiting), num_returns=1)
                number = waiting.pop(done)
                yield number, _result(ray, done, number)
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)

    def over(
        self, make: Callable[..., Callable[[Rows], Rows]], arguments: Mapping[str, Any], rows: Rows, block: int
    ) -> Rows:
        ray = import_ray()
        # Blocks lie in Ray's object store, which moves to disk what memory does not hold, and go where they are asked.
        starts = list(range(0, len(rows), block))
        blocks = [ray.put(np.ascontiguousarray(rows[start : start + block])) for start in starts]
        made = {"make": make, "arguments": dict(arguments), "blocks": blocks}
        # Items that lie in the store already: reading tasks would wait for the cores that the workers hold.
        items = ray.data.from_items([{"id": number} for number in range(len(starts))], override_num_blocks=len(starts))
        found = items.map_batches(
            _Worker, fn_constructor_kwargs=made, batch_size=1, concurrency=min(self.asked, len(starts)), num_cpus=1
        )
        out: Rows | None = None
        with _told(ray, "work on blocks of rows"):
            for batch in found.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
                if "error" in batch:
                    raise ray.cloudpickle.loads(batch["error"][0])
                values = np.stack(list(batch["value"])) if batch["value"].dtype == object else batch["value"]
                out = np.empty((len(rows), *values.shape[1:]), values.dtype) if out is None else out
                # Blocks come as they are finished; every row knows its place.
                out[batch["block"] * block + batch["row"]] = values
        assert out is not None
        return out


class _Worker:
    """What every process of Ray Data holds: one function, made once.

    Errors of the work come back in the place of its rows: Ray Data wraps them in errors of its own that keep no more
    than their text, and tells of one that is raised while the function is made as of a worker that died.
    """

    def __init__(self, make: Callable[..., Any], arguments: dict[str, Any], blocks: list[Any]) -> None:
        self.blocks = blocks
        self.failed: Exception | None = None
        try:
            with one_thread():
                self.over = make(**arguments)
        except Exception as error:  # whatever the work raises is raised to who asked for it
            self.failed = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        ray, number = import_ray(), int(batch["id"][0])
        rows = ray.get(self.blocks[number])
        try:
            value = self._of(rows)
        except Exception as error:
            return {"error": np.array([_packed(ray, error)], object)}
        return {"block": np.full(len(value), number), "row": np.arange(len(value)), "value": value}

    def _of(self, rows: Rows) -> Rows:
        if self.failed is not None:
            raise self.failed
        with one_thread():
            return self.over(rows)


def _packed(ray: Any, error: Exception) -> bytes:
    """The error as it travels, with where in a worker it was raised; raises it where it cannot travel."""
    if not isinstance(error, DecoctError):
        error.add_note("in a worker of Ray:\n" + "".join(traceback.format_exception(error)))
    try:
        packed = ray.cloudpickle.dumps(error)
        ray.cloudpickle.loads(packed)
    except Exception:
        # Some exceptions cannot be made again from their parts.
        raise error from None
    return packed


def _alone(work: Callable[[Any], Any], unit: Any) -> Any:
    """Run one unit in a worker; an error of ours comes back as it is, where Ray would wrap it in one of its own."""
    try:
        with one_thread():
            return work(unit)
    except DecoctError as error:
        return error


@contextmanager
def _told(ray: Any, what: str) -> Iterator[None]:
    """Ray's own failures as ours: memory, workers and machines that are lost; errors of the work itself pass as they
    are."""
    try:
        yield
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        said = " ".join(str(error).split())[:300]
        raise DecoctError(
            f"running {what} on Ray",
            received=f"{type(error).__name__}, after {RETRIES + 1} tries where trying again could help ({said})",
            expected="workers and machines that live to the end, and memory for what runs at a time",
            remedy="look at the memory of the workers, ask for fewer of them, and start the same command again: "
            "finished units stay",
        ) from error


def _result(ray: Any, reference: Any, number: int) -> Any:
    with _told(ray, f"work unit {number}"):
        found = ray.get(reference)
    if isinstance(found, DecoctError):
        raise found
    return found

"""Options that say where work units run, and starting the engine that they ask for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from decoct.cli.opening import left_out

if TYPE_CHECKING:
    from decoct.engine import Engine


@dataclass(frozen=True, kw_only=True)
class Running:
    """Where work units run."""

    engine: Annotated[str, left_out("local|ray")] = "local"
    """local: this process, unit after unit; ray: tasks of Ray (pip install 'decoct[ray]'). A unit computes on one core
    in both, so that the results are the same; what is trained once uses all cores."""
    workers: Annotated[int | None, left_out("N")] = None
    """For ray: how many units run at a time; without it, one a core."""
    address: Annotated[str | None, left_out("HOST:PORT")] = None
    """For ray: a cluster that runs already; without it, one is started on this machine and stopped at the end."""

    @contextmanager
    def start(self) -> Iterator[Engine]:
        """The engine, stopped at the end. Raises `UnknownNameError`, `ConfigError`."""
        if self.engine == "local":
            self._require_plain()
        from decoct.scale.engines import engine

        with engine(self.engine, self.workers, self.address) as found:
            yield found

    def _require_plain(self) -> None:
        given = [f"--{name}" for name in ("workers", "address") if getattr(self, name) is not None]
        if given:
            from decoct.errors import ConfigError

            raise ConfigError(
                "choosing where work units run",
                received=f"{' and '.join(given)} with --engine local",
                expected="these with --engine ray only",
                remedy="add --engine ray, or leave them out",
            )

"""The groups that a selector picks from (classes, or the whole set) as work units of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from jaxtyping import Float, Int64
from torch import Tensor

from decoct.engine import Engine
from decoct.progress import Ticker
from decoct.selection.selector import Picks, Selector
from decoct.streams import Streams


@dataclass(frozen=True, eq=False)
class Group:
    """Rows to pick from by their features alone, and what chance follows from."""

    method: Selector
    features: Float[Tensor, "m d"]
    count: int
    seed: int
    stream: str


def pick_group(group: Group) -> Picks:
    """Picks of one group, numbered within it."""
    return group.method.pick(group.features, group.count, Streams(group.seed)(group.stream))


@dataclass(frozen=True, eq=False)
class Groups(Sequence[Group]):
    """The groups that have a share, each gathered from the table when it is its turn."""

    method: Selector
    table: Float[Tensor, "n d"]
    rows: tuple[Int64[Tensor, " _"], ...]
    wanted: tuple[int, ...]
    seed: int

    @property
    def numbers(self) -> list[int]:
        """Which of all groups these are."""
        return [number for number, count in enumerate(self.wanted) if count]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> Group: ...
    @overload
    def __getitem__(self, place: slice) -> list[Group]: ...
    def __getitem__(self, place: int | slice) -> Group | list[Group]:
        if isinstance(place, slice):
            return [self[own] for own in range(*place.indices(len(self)))]
        number = self.numbers[place]
        rows = self.table[self.rows[number]]
        return Group(self.method, rows, self.wanted[number], self.seed, f"select/{number}")


def pick_groups(engine: Engine, groups: Groups, tick: Ticker) -> list[Picks]:
    """Picks of every group that has a share, as rows of the table, in the order of the groups."""
    found: dict[int, Picks] = {}
    for place, part in engine.map(pick_group, groups):
        rows = groups.rows[groups.numbers[place]]
        found[place] = Picks(rows[part.rows], part.weights, part.scores)
        tick(float(len(found)))
    return [found[place] for place in range(len(groups))]

"""The rows that an expert sees: all of the training split in every pass, or others of the same classes each time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from decoct.data.dataset import Dataset
from decoct.data.sample_weights import draw
from decoct.training.checkpoint import Tensors, prefixed, under
from decoct.training.sources import Source


class Passes(Source):
    """Rows of the training split behind numbered places of fixed classes: `renew` puts other rows there.

    The whole split in its order where `rows` is None.
    """

    def __init__(self, data: Dataset, rows: int | None, seed: int, device: str) -> None:
        self._data, self._device = data, device
        self._generator = torch.Generator().manual_seed(seed)
        self._members = [torch.from_numpy(rows) for rows in data.train.class_rows(data.spec.classes)]
        self._fixed = rows is None or rows >= len(data.train)
        if rows is None or self._fixed:
            self.targets = data.train.labels()
        else:
            # A class seldom divides the number of rows: the first ones get one row more.
            self.targets = torch.arange(rows) * data.spec.classes // rows
        self.weights = data.train.weight() if self._fixed else None
        """By which the rows of a pass are drawn where they stay the same; otherwise `renew` has done that."""
        self._rows = torch.arange(len(self.targets))
        self.renew()

    def renew(self) -> None:
        """Other rows of the same classes; a class with too few rows gives some twice."""
        if self._fixed:
            return
        shares = torch.bincount(self.targets, minlength=len(self._members)).tolist()
        self._rows = torch.cat([self._some(own, n) for own, n in zip(self._members, shares, strict=True)])

    def _some(self, members: Int[Tensor, " n"], count: int) -> Int[Tensor, " k"]:
        weights = self._data.train.weight(members)
        if weights is not None:
            return members[draw(weights, count, self._generator)]
        if len(members) < count:
            return members[torch.randint(len(members), (count,), generator=self._generator)]
        return members[torch.randperm(len(members), generator=self._generator)[:count]]

    def state_dict(self) -> dict[str, Tensor]:
        """The rows of the next pass, and the state of what draws them."""
        return {"rows": self._rows.clone(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` gave."""
        self._rows = state["rows"]
        self._generator.set_state(state["generator"])

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, rows: Int[Tensor, " k"] | None) -> Float[Tensor, "k ..."]:
        return self._data.inputs(self._data.train, self._rows if rows is None else self._rows[rows], self._device)


class Way:
    """Experts on their way: the rows that each of them sees next, and the weights `[K, P]` of all after every pass."""

    def __init__(self, sources: Sequence[Passes]) -> None:
        self.sources = sources
        self.seen: list[Tensor] = []

    def passed(self, weights: Float[Tensor, "k p"]) -> None:
        """Keep a copy of the weights after one more pass, on the CPU, and put other rows where there are others."""
        self.seen.append(weights.detach().cpu().clone())
        for source in self.sources:
            source.renew()

    def collected(self) -> Tensors:
        """All of it, as a training that is kept halfway wants it."""
        found = {f"pass.{place}": weights for place, weights in enumerate(self.seen)}
        for place, source in enumerate(self.sources):
            found |= prefixed(f"source{place or ''}", source.state_dict())
        return found

    def restore(self, tensors: Tensors) -> None:
        """Take back what `collected` gave; a single expert of before has vectors `[P]`."""
        for place, source in enumerate(self.sources):
            source.load_state_dict(under(f"source{place or ''}", tensors))
        weights = under("pass", tensors)
        self.seen.extend(weights[str(place)].reshape(len(self.sources), -1) for place in range(len(weights)))

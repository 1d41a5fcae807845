"""Named random streams: one seed, one independent generator for each purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed that depends on `seed` and on every name, and on nothing else."""
    digest = hashlib.sha256("/".join(str(part) for part in (seed, *names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Streams:
    """Generators made from one seed, one for each name, kept so that a run can be resumed exactly.

    `Streams(0)("real")` is always the same generator object; its state is part of `state_dict()`.
    All generators live on the CPU, so that a seed means the same draws on every device.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generators: dict[str, torch.Generator] = {}

    def __call__(self, name: str) -> torch.Generator:
        if name not in self._generators:
            generator = torch.Generator()
            generator.manual_seed(derive_seed(self.seed, name))
            self._generators[name] = generator
        return self._generators[name]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The state of every generator used so far: name -> uint8 tensor."""
        return {name: generator.get_state().clone() for name, generator in self._generators.items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        for name, value in state.items():
            self(name).set_state(value)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run code that only knows torch's global generators (initialisers, dropout) from `seed`, and leave no trace.

    The global states are restored on exit, so callers outside see nothing. Those of GPUs are seeded once they are in
    use: asking for them before would start every GPU of the machine.
    """
    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        if gpus:
            torch.cuda.manual_seed_all(seed)
        yield

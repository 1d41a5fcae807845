"""`compare`: several methods at several sizes under one protocol, resumable from end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from decoct.compact.budget import Budget
from decoct.compact.compact_set import CompactSet
from decoct.compact.load import load
from decoct.data.dataset import Dataset
from decoct.data.sample_weights import weights_key
from decoct.distillation.driver import distill
from decoct.distillation.recipes.table import RECIPES, resolve
from decoct.distillation.recipes.task import Task
from decoct.durations import parse_duration
from decoct.errors import (
    ConfigError,
    DecoctError,
    DivergenceError,
    MemoryEstimateError,
    MismatchError,
    SourceError,
    UnfinishedRunError,
)
from decoct.evaluation.baselines import BASELINES
from decoct.evaluation.comparison import Comparison, Contest
from decoct.evaluation.judge import Bench
from decoct.evaluation.protocol import Protocol
from decoct.evaluation.search import Search
from decoct.registry import unknown_name
from decoct.selection.driver import select
from decoct.selection.methods import METHODS as SELECTORS
from decoct.selection.methods import selector
from decoct.selection.selector import require_weighing

METHODS = ("random", "herding", "k-means", "auto")


def compare(
    data: Dataset,
    methods: Sequence[str] = METHODS,
    ipc: Sequence[int] = (1, 10),
    *,
    budget: float | str | None = None,
    steps: int | None = None,
    protocol: str | Protocol = "quick",
    networks: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 5,
    baselines: Sequence[str] = BASELINES,
    seed: int = 0,
    search: Search | None = None,
    out: str | Path | None = None,
    device: str | None = None,
) -> Comparison:
    """Make a set with each of `methods` at each of `ipc` images per class, and judge all of them alike.

    A method is a selection method or a recipe; `budget` ("20min", or seconds) or `steps` bounds each distillation and
    `seed` is that of the makers. Selectors compare rows by `features="auto"`, principal components for images. Each set
    is judged as by `evaluate`, beside `baselines` at its own bytes. A method that is a baseline itself (random,
    herding) is judged as one, its rows drawn afresh for each seed, and is not repeated as a baseline of the same size.
    With `out`, sets stand in `out/sets`, finished runs in `out/cells`, the result in `out/comparison.json`, and the
    same call goes on where it was stopped. With `search`, every method and every baseline gets the same number of
    trials of training settings on validation data before it is judged. A method that turns out not to fit the data or
    the machine, or that diverges, is told in `refused`, and the others go on.

    Raises `UnknownNameError` for a method, network, protocol or baseline that does not exist, `ConfigError` for no
    methods or sizes, an impossible budget, or weighted rows and a selector that cannot honour weights, `BudgetError`
    for more images than a class has, `MismatchError` where `out` holds sets of other data or settings, what the makers
    and `evaluate` raise, and what was refused where nothing else is left.
    """
    methods, sizes = tuple(dict.fromkeys(methods)), tuple(dict.fromkeys(ipc))
    _require_names(methods, sizes)
    _require_room(data, sizes)
    _require_usable(data, methods, sizes)
    if budget is not None and steps is not None:
        raise ConfigError(
            "comparing methods",
            received=f"both budget={budget!r} and steps={steps}",
            expected="one of the two, for each distillation",
            remedy="give the time budget or the number of steps",
        )
    if steps is not None and steps < 1:
        raise ConfigError(
            "comparing methods", received=f"steps={steps}", expected="1 or more", remedy="give more steps"
        )
    seconds = parse_duration(str(budget)) if budget is not None else None
    if out is not None:
        _require_own(Path(out))
    bench = Bench.of(data, protocol, networks, seeds, baselines=baselines, search=search, out=out, device=device)
    pairs = [(method, size) for size in sizes for method in methods]
    bench = replace(bench, goes_on=len(pairs) > 1)
    maker = Maker(data, seconds, steps, seed, None if out is None else Path(out) / "sets", bench.device)
    asked = {"methods": list(methods), "ipc": list(sizes), "budget_seconds": seconds, "steps": steps, "seed": seed}
    contests: list[Contest] = []
    refused: dict[str, DecoctError] = {}
    for method, size in pairs:
        try:
            contests.append(_contest(bench, maker, method, size))
        except (ConfigError, DivergenceError, MemoryEstimateError) as error:
            refused[f"{method} at {size} a class is not compared: {error.received}; {error.expected}"] = error
    if not contests:
        raise next(iter(refused.values()))
    card, provenance = contests[0].scorecard, {**bench.provenance, "asked": asked}
    result = Comparison(tuple(contests), card.data, card.protocol, provenance, tuple(refused))
    if out is not None:
        result.save(Path(out) / "comparison.json")
    return result


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes the set of a method at a size, or finds it made."""

    data: Dataset
    seconds: float | None
    steps: int | None
    seed: int
    folder: Path | None
    device: str

    def make(self, method: str, ipc: int) -> tuple[CompactSet, Path | None]:
        """The set and its folder. A selection that is there whole is loaded; a distillation resumes by itself."""
        path = None if self.folder is None else self.folder / f"{method}-ipc{ipc}-seed{self.seed}"
        if method in SELECTORS:
            return self._selected(method, ipc, path), path
        made = distill(
            self.data, method, ipc=ipc, budget=self.seconds, steps=self.steps, seed=self.seed, out=path,
            device=self.device,
        )  # fmt: skip
        return made, path

    def _selected(self, method: str, ipc: int, path: Path | None) -> CompactSet:
        if path is not None and path.exists():
            try:
                found = load(path)
            except (UnfinishedRunError, SourceError):
                pass
            else:
                _require_same(path, found, self.data)
                return found
        return select(self.data, method, ipc=ipc, seed=self.seed, out=path, device=self.device)


def _contest(bench: Bench, maker: Maker, method: str, ipc: int) -> Contest:
    compact_set, path = maker.make(method, ipc)
    if method in BASELINES:
        card = bench.judge_baseline(method, compact_set.nbytes.total)
    else:
        card = bench.judge(compact_set, method)
    seconds = compact_set.provenance.get("seconds", 0.0)
    return Contest(method, ipc, compact_set, card, float(seconds), path)


def _require_same(path: Path, found: CompactSet, data: Dataset) -> None:
    """Raise `MismatchError` for a set of other data, of other rows of them, or of rows with other weights."""
    made, ours, own = found.provenance, weights_key(data.train), data.rows_key
    if found.spec.fingerprint != data.spec.fingerprint:
        received, expected = f"data {found.spec.fingerprint[:12]}", f"these data, {data.spec.fingerprint[:12]}"
    elif made.get("weights", "") != ours:
        received, expected = (f"rows {_by_weights(key)}" for key in (made.get("weights", ""), ours))
    # Sets of earlier versions do not say which rows they are of.
    elif made.get("rows_key", own) != own:
        received, expected = f"other rows, {made['rows_key'][:12]}", f"these rows, {own[:12]}"
    else:
        return
    raise MismatchError(
        "going on with a comparison", received=f"{path}, made from {received}", expected=f"sets of {expected}",
        remedy="name another out folder, or remove this one",
    )  # fmt: skip


def _by_weights(key: str) -> str:
    return f"with weights {key[:12]}" if key else "without weights"


def _require_own(out: Path) -> None:
    """Refuse the folder of a set or of a distillation before anything is written into it."""
    found = [name for name in ("manifest.json", "run.json") if (out / name).exists()]
    if found:
        raise MismatchError(
            f"comparing into {out}",
            received=f"the folder of one set or one run ({', '.join(found)})",
            expected="a new folder, or that of a comparison",
            remedy="choose another folder for --out",
        )


def _require_room(data: Dataset, sizes: Sequence[int]) -> None:
    """Refuse a size that a class cannot give before anything is made, not after the smaller sizes are done."""
    counts = torch.bincount(data.train.labels(), minlength=data.spec.classes)
    for size in sizes:
        Budget(ipc=size).quota(counts, data.spec.row_bytes, class_names=data.spec.class_names)


def _require_usable(data: Dataset, methods: Sequence[str], sizes: Sequence[int]) -> None:
    """Raise `ConfigError` before any work where rows have weights that a selector cannot honour, and what recipes raise
    for these data."""
    for method in methods:
        if method in SELECTORS:
            if data.train.weights is not None:
                require_weighing(selector(method), method)
        else:
            for size in sizes:
                resolve(method, Task(data.spec, size))


def _require_names(methods: Sequence[str], sizes: Sequence[int]) -> None:
    for method in methods:
        if method not in SELECTORS and method not in RECIPES:
            raise unknown_name("method", method, sorted([*SELECTORS, *RECIPES]))
    if not methods or not sizes:
        raise ConfigError(
            "comparing methods",
            received=f"methods={list(methods)}, ipc={list(sizes)}",
            expected="at least one method and one size",
            remedy="name some, such as methods=('random', 'dm') and ipc=(1, 10)",
        )

"""Picking what a question asks for: which of three ways, and in which order the groups take turns."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Int64
from torch import Tensor

from decoct.engine import one_thread
from decoct.progress import progress
from decoct.selection.active import Active
from decoct.selection.groups import Groups, pick_groups
from decoct.selection.question import Question
from decoct.selection.selector import Picks
from decoct.selection.sharded.selector import by_features
from decoct.streams import Streams


def picked(question: Question) -> tuple[list[Picks], Int64[Tensor, " k"]]:
    """Picks of the groups as rows of the training split, and the order in which they stand in the coreset.

    Selectors by features alone pick from the groups as work units of the engine, those in rounds from all groups
    together, all others from one group after the other in this process.
    """
    if by_features(question.method) and question.sources.data.train.weights is None:
        parts = _pick_units(question)
    elif isinstance(question.method, Active):
        part, sources = _pick_in_rounds(question), question.sources
        return [part], _in_rounds(part.rows, sources.groups, [one["added"] for one in sources.record if "added" in one])
    else:
        parts = _pick_groups(question)
    return parts, _in_turn([len(part.rows) for part in parts])


def _pick_units(question: Question) -> list[Picks]:
    sources = question.sources
    units = Groups(question.method, sources.table, sources.groups, sources.wanted, sources.seed)
    with progress(f"selecting by {question.name}", total=float(len(units))) as tick:
        return pick_groups(question.engine, units, tick)


def _pick_groups(question: Question) -> list[Picks]:
    sources, pick, found = question.sources, question.method.bind(question.sources), []
    streams = Streams(sources.seed)
    with progress(f"selecting by {question.name}", total=float(len(sources.groups))) as tick:
        for number, (rows, count) in enumerate(zip(sources.groups, sources.wanted, strict=True)):
            if count:
                with one_thread():
                    part = pick(rows, count, streams(f"select/{number}"))
                found.append(replace(part, rows=rows[part.rows]))
            tick(float(number + 1))
    return found


def _pick_in_rounds(question: Question) -> Picks:
    """Picks from all groups together, in the order of choosing."""
    sources = question.sources
    pick, pool = question.method.bind(sources), torch.cat(sources.groups)
    # On all cores, which the trainings in between need.
    part = pick(pool, sum(sources.wanted), Streams(sources.seed)("select"))
    return replace(part, rows=pool[part.rows])


def _in_turn(sizes: list[int]) -> Int64[Tensor, " k"]:
    """The order of the joined groups in which they take turns, each going on as long as it has picks.

    The first m are then what a balanced budget of m rows in all would give every group.
    """
    return torch.sort(torch.cat([torch.arange(size) for size in sizes]), stable=True).indices


def _in_rounds(rows: Int64[Tensor, " k"], groups: tuple[Tensor, ...], sizes: list[int]) -> Int64[Tensor, " k"]:
    """The order in which every round keeps its place, with rows of the groups in turn inside of it.

    What a round was trained on is then what stands before it, also where groups have other shares of each round.
    """
    owner = torch.empty(1 + max(int(group.max()) for group in groups if len(group)), dtype=torch.int64)
    for number, group in enumerate(groups):
        owner[group] = number
    parts, start = [], 0
    for part in rows.split(sizes):
        own = owner[part].sort(stable=True)
        turn = torch.cat([torch.arange(size) for size in torch.bincount(own.values).tolist()])
        parts.append(start + own.indices[turn.sort(stable=True).indices])
        start += len(part)
    return torch.cat(parts)

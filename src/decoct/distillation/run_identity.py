"""What makes a run of a distillation this one and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from decoct.distillation.limit import VALIDATIONS, Limit
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.networks.identity import foreign_identities


def run_identity(problem: Problem, point: Recipe, limit: Limit, seed: int) -> dict[str, Any]:
    """Plain JSON that differs wherever the result would; `rows` because a part of the data has the same fingerprint.

    Networks from outside decoct stand in it by what they are made of as well, since their names stay when they are
    edited. Raises what building those raises.
    """
    data = problem.data
    splits = (replace(split, weights=None) for split in (data.train, data.val))
    found = {
        "settings": point.facts(), "ipc": problem.ipc, "steps": limit.steps, "budget_seconds": limit.seconds,
        "seed": seed, "network": problem.network, "fingerprint": data.spec.fingerprint,
        "transform": data.spec.transform.kind, "rows": [split.rows_key for split in splits],
    }  # fmt: skip
    # What follows is left out where a run has none of it, as in the identities of runs that began before it was known.
    if limit.looks != VALIDATIONS:
        found["looks"] = limit.looks
    if data.weighted:
        found["weights"] = data.rows_key
    if networks := _networks(problem, point):
        found["networks"] = networks
    return found


def _networks(problem: Problem, point: Recipe) -> dict[str, str]:
    """What networks from outside decoct are made of, by name: the one that is matched in, and those of every axis."""
    found = foreign_identities([problem.network], problem.shape, problem.class_count)
    for axis in (point.storage, point.objective, point.labels):
        found |= axis.network_identities(problem)
    return found

"""A distillation at work: its tensors, its optimiser, one step, one look at the validation split."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from decoct.compact.distilled import DistilledSet
from decoct.distillation.axes import Tensors
from decoct.distillation.checkpoint import prefixed, under
from decoct.distillation.outer import Outer
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.recipe import Recipe
from decoct.distillation.step_rows import StepRows
from decoct.distillation.validate import validate
from decoct.streams import Streams, derive_seed, seeded

DECODE_ROWS = 256
"""Rows decoded at once on the way back from image gradients to the storage."""


class Distillation:
    """Storage and label tensors, the objective's state and everything else that moves.

    `step` counts outer steps, `elapsed` the seconds they took, `best_score` the best validation accuracy (fraction)
    so far and `best_step` where it was seen; `looks` numbers the last look that was due; `history` lists every look
    as `[step, accuracy]`.
    """

    def __init__(self, problem: Problem, recipe: Recipe, seed: int) -> None:
        self.problem, self.recipe, self.streams = problem, recipe, Streams(seed)
        self.tensors = recipe.storage.init(problem, self.streams)
        self.classes = recipe.storage.classes(problem)
        self._step_rows = StepRows(recipe, self.classes, problem.class_count)
        self.labels = recipe.labels.init(problem, recipe.storage, recipe.objective, self.streams)
        self.objective = recipe.objective.init(problem, self.streams)
        self.real = RealSource(problem.data, problem.device, self.streams("real"))
        for tensor in self._moving().values():
            tensor.requires_grad_(True)
        self.outer = Outer(recipe, self.tensors, self.labels.tensors, self.objective.tensors)
        self.step, self.elapsed, self.looks = 0, 0.0, 0
        self.best: Tensors = {}
        self.best_score, self.best_step = -math.inf, 0
        self.history: list[list[float]] = []

    def prepare(self) -> None:
        """What comes before the first step: networks trained on the real data, labels of the images as they start."""
        with seeded(derive_seed(self.streams.seed, "prepare")):
            self.objective.prepare(self.real)
            if self.step == 0:
                self._begin()
                self._refresh_labels()

    @torch.no_grad()
    def _begin(self) -> None:
        """Images, and then labels of them, that start from what the prepared objective knows."""
        self.recipe.storage.begin(self.tensors, self.problem, self.objective, self.streams)
        self.labels.begin(self._decoded(), self.classes, self.objective)

    def advance(self, share: float) -> float:
        """One outer step at this share of the run; returns the loss.

        A user's network may draw from torch's global generator: it finds a state that follows from the seed and the
        step, and others find theirs untouched.
        """
        with seeded(derive_seed(self.streams.seed, "step", self.step)):
            return self._advance(share)

    def _advance(self, share: float) -> float:
        self.outer.schedule(share)
        self.objective.schedule(share)
        rows = self._step_rows.draw(self.streams)
        with torch.no_grad():
            leaf = self.recipe.storage.decode(self.tensors, rows).detach().clone()
        leaf.requires_grad_(True)
        synthetic = Synthetic(leaf, self.labels.targets(rows), self.classes[rows].to(leaf.device))
        loss = self.objective.loss(synthetic, self.real)
        self.outer.zero_grad()
        loss.backward()
        self._storage_backward(rows, leaf)
        self.outer.step()
        with torch.no_grad():
            self.recipe.storage.project(self.tensors, self.problem)
        self.objective.advance(synthetic, self.real)
        self.step += 1
        return loss.item()

    def _storage_backward(self, rows: Tensor, leaf: Tensor) -> None:
        """The second pass of back-propagation: image gradients through the decoder, a chunk of rows at a time."""
        penalty = self.recipe.storage.penalty(self.tensors)
        if penalty is not None:
            penalty.backward()
        if leaf.grad is None:
            return
        for chunk, gradient in zip(rows.split(DECODE_ROWS), leaf.grad.split(DECODE_ROWS), strict=True):
            self.recipe.storage.decode(self.tensors, chunk).backward(gradient)

    def _decoded(self) -> Tensor:
        with torch.no_grad():
            return self.recipe.storage.decode(self.tensors).detach()

    def _refresh_labels(self) -> None:
        self.labels.refresh(self._decoded())

    def look(self, number: int) -> float:
        """Measure the present set on the validation split; keep it if it is the best so far. `number` looks are due."""
        with seeded(derive_seed(self.streams.seed, "look", self.step)):
            self._refresh_labels()
            small = self.packed(self.tensors, {})
            measured = self.objective.measure(small)
        score = validate(small, self.problem, self.streams.seed) if measured is None else measured
        self.looks = number
        self.history.append([float(self.step), score])
        if score > self.best_score:
            self.best_score, self.best_step = score, self.step
            self.best = {name: tensor.detach().clone() for name, tensor in self._moving().items()}
        return score

    def _moving(self) -> Tensors:
        return {
            **prefixed("storage", self.tensors),
            **prefixed("labels", self.labels.tensors),
            **prefixed("objective", self.objective.tensors),
        }

    def packed(self, tensors: Tensors, provenance: dict[str, Any]) -> DistilledSet:
        """The set that these storage tensors and the present labels make, as it would be stored."""
        decoder, stored, config = self.recipe.storage.pack(tensors, self.problem)
        learned = self.objective.learned()
        blank = DistilledSet(
            self.problem.spec, decoder, config, stored, self.classes, "hard", self.classes, learned, provenance
        )
        if self.labels.kind == "hard":
            return blank
        labels = self.labels.final(blank.decode())
        return DistilledSet(
            self.problem.spec, decoder, config, stored, labels, self.labels.kind, self.classes,
            {**learned, **self.labels.learned()}, provenance, self.labels.top_k,
        )  # fmt: skip

    def result(self, provenance: dict[str, Any]) -> DistilledSet:
        """The best set seen on validation."""
        with torch.no_grad():
            for name, tensor in self._moving().items():
                tensor.copy_(self.best[name])
        chosen = {"best_step": self.best_step, self.objective.measured: self.best_score}
        return self.packed(self.tensors, {**provenance, **chosen})

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Everything that an exact resume needs: tensors and plain facts."""
        tensors = {
            **prefixed("now", self._moving()),
            **prefixed("best", self.best),
            **prefixed("outer", self.outer.state_dict()),
            **prefixed("objective", self.objective.state_dict()),
            **prefixed("label_state", self.labels.state_dict()),
            **prefixed("streams", self.streams.state_dict()),
        }
        facts = {
            "step": self.step, "elapsed": self.elapsed, "looks": self.looks, "history": self.history,
            "best_score": self.best_score if self.best else None, "best_step": self.best_step,
        }  # fmt: skip
        return tensors, facts

    def load_state(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back what `state` gave; what does not fit raises what Python or torch say of it."""
        with torch.no_grad():
            for name, tensor in self._moving().items():
                kept = tensors[f"now.{name}"]
                # `copy_` would repeat a smaller one.
                if kept.shape != tensor.shape:
                    raise ValueError(f"{name} of shape {list(kept.shape)} in place of {list(tensor.shape)}")
                tensor.copy_(kept)
        self.best = {name: value.to(self.problem.device) for name, value in under("best", tensors).items()}
        self.outer.load_state_dict(under("outer", tensors))
        self.objective.load_state_dict(under("objective", tensors))
        self.labels.load_state_dict(under("label_state", tensors))
        self.streams.load_state_dict(under("streams", tensors))
        self.step, self.elapsed, self.looks = facts["step"], facts["elapsed"], facts["looks"]
        self.history, self.best_step = facts["history"], facts["best_step"]
        self.best_score = -math.inf if facts["best_score"] is None else facts["best_score"]

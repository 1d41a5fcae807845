"""Labels kept in few bytes: what is counted, what is read back, and what is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import blob_images

from decoct.compact.decoders import quantise
from decoct.compact.distilled import DistilledSet
from decoct.errors import ConfigError
from decoct.evaluation.judge import Bench
from decoct.evaluation.label_bytes import Keeping, label_bytes, ways
from decoct.evaluation.protocol import Protocol
from decoct.selection.driver import select
from decoct.training.config import FitConfig

DATA = blob_images(classes=3, per_class=12)
FAST = Protocol("test", FitConfig(optimizer="adamw", lr=0.01, epochs=3), full_epochs=2, full_samples=10_000, checks=1)


def soft_set(kind: str = "probabilities") -> DistilledSet:
    chosen = select(DATA, "random", ipc=2, seed=0)
    inputs, targets, _ = chosen.materialize()
    hot = torch.nn.functional.one_hot(targets, 3).float()
    labels = hot * 0.7 + torch.tensor([0.05, 0.1, 0.15]) if kind == "probabilities" else hot - 1 / 3
    tensors = quantise(inputs, 8)
    return DistilledSet(DATA.spec, "pixels", {}, tensors, labels, kind, chosen.classes, {}, {})  # type: ignore[arg-type]


def bench(out: Path | None = None) -> Bench:
    return Bench.of(DATA, FAST, ["mlp"], 1, baselines=(), out=out, device="cpu")


@pytest.mark.parametrize(
    ("name", "rows", "classes", "expected"),
    [
        ("hard", 100, 10, 100),
        ("hard", 100, 1000, 200),
        ("own", 100, 10, 2000),
        ("own-8bit", 100, 10, 1000),
        ("own-top1", 100, 10, 300),
        ("own-top3-8bit", 100, 10, 600),
        ("teacher-top5", 10, 1000, 10 * 5 * 4),
        ("teacher-top10-8bit", 100, 10, 1000),
    ],
)
def test_bytes_counted_by_hand(name: str, rows: int, classes: int, expected: int) -> None:
    assert Keeping.read(name, classes).nbytes(rows, classes) == expected


def test_the_whole_curve() -> None:
    assert ways(10) == (
        "hard", "own-top1", "own-top2", "own-top4", "own-top8", "own",
        "own-top1-8bit", "own-top2-8bit", "own-top4-8bit", "own-top8-8bit", "own-8bit",
    )  # fmt: skip
    assert ways(2) == ("hard", "own-top1", "own", "own-top1-8bit", "own-8bit")


@given(st.integers(1, 6), st.sampled_from([8, 16]), st.integers(0, 1000))
def test_what_is_read_back(k: int, bits: int, seed: int) -> None:
    labels = torch.rand(4, 6, generator=torch.Generator().manual_seed(seed)).pow(3).softmax(1)
    kept = Keeping("x", "own", None if k == 6 else k, bits).kept(labels)
    torch.testing.assert_close(kept.sum(1), torch.ones(4))
    assert int((kept > 0).sum(1).max()) <= k
    # Of two entries that 8 bits do not tell apart either may come out as the larger one.
    chosen = labels.gather(1, kept.argmax(1, keepdim=True))[:, 0]
    assert (chosen >= labels.max(1).values * (1 - 1 / 255)).all()
    largest = labels.sort(1, descending=True).values[:, :k]
    expected = largest / largest.sum(1, keepdim=True)
    torch.testing.assert_close(kept.sort(1, descending=True).values[:, :k], expected, atol=1.5 / 255, rtol=0)


def test_eight_bits_by_hand() -> None:
    """Of 0.6, 0.3, 0.1: 255, 127.5 to even 128, 42.5 to even 42; the sum is 425."""
    kept = Keeping("x", "own", None, 8).kept(torch.tensor([[0.6, 0.3, 0.1]]))
    torch.testing.assert_close(kept, torch.tensor([[255, 128, 42]]) / 425.0, atol=0.003, rtol=0)


def test_every_way_is_an_entry_with_its_own_bytes_and_kept_cells(tmp_path: Path) -> None:
    small = soft_set()
    names = ("hard", "own-top1", "own", "own-8bit", "teacher", "teacher-top2-8bit")
    card = label_bytes(small, bench(tmp_path), names)
    assert [entry.label for entry in card.entries] == list(names)
    assert [entry.label_bytes for entry in card.entries] == [6, 18, 36, 18, 36, 24]
    assert {entry.image_bytes for entry in card.entries} == {small.nbytes.images}
    assert [entry.label_kind for entry in card.entries] == ["hard", *["probabilities"] * 5]
    before = sorted(path.name for path in (tmp_path / "cells").iterdir())
    assert label_bytes(small, bench(tmp_path), names).entries == card.entries
    assert sorted(path.name for path in (tmp_path / "cells").iterdir()) == before


def test_one_entry_a_row_teaches_what_a_hard_label_teaches() -> None:
    """Top-1, made to sum to 1 again, is the hard label; without that each row would count for its own probability."""
    small = soft_set()
    keeping = Keeping.read("own-top1", 3)
    _, targets, _ = small.materialize()
    assert torch.equal(keeping.kept(targets), torch.nn.functional.one_hot(small.classes, 3).float())


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("own-top4", "probabilities", "-top1 to -top3"),
        ("top3", "probabilities", "own-top3-8bit"),
        ("own-top0", "probabilities", "-top1"),
        ("own-top1", "scores", "scores kept whole"),
        ("own-8bit", "scores", "a set with scores labels"),
    ],
)
def test_ways_that_cannot_be(name: str, kind: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        label_bytes(soft_set(kind), bench(), (name,))


def test_a_set_with_hard_labels_gets_those_of_a_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = select(DATA, "random", ipc=2, seed=0)
    with pytest.raises(ConfigError, match='choose "hard" or "teacher"'):
        label_bytes(chosen, bench(), ("own",))
    asked: list[Any] = []
    monkeypatch.setattr(Bench, "entries", lambda self, contenders: asked.extend(contenders) or [])
    label_bytes(chosen, bench())
    assert [one.label for one in asked] == list(ways(3, ("teacher",)))
    asked.clear()
    label_bytes(chosen, bench(), ("usual", "hard", "teacher-top2-8bit"))
    assert [one.label for one in asked] == list(dict.fromkeys([*ways(3, ("teacher",)), "teacher-top2-8bit"]))

"""The engine against a textbook loop, and what it promises about seeds, pieces, weights and failures."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from fit_reference import distance, problem, small_network, textbook
from toys import blob_images
from untyped import as_callers_do

from decoct.errors import ConfigError, DivergenceError
from decoct.streams import Streams, seeded
from decoct.training.accuracy import accuracy
from decoct.training.batches import Batches
from decoct.training.config import FitConfig
from decoct.training.fit import fit, fit_dataset
from decoct.training.job import Job
from decoct.training.sources import TensorSource

CASES = list(itertools.product(("sgd", "adamw", "adam"), ("constant", "step", "cosine")))


def state_of(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten() for value in module.state_dict().values()])


@pytest.mark.parametrize(("optimizer", "schedule"), CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_the_textbook_loop(optimizer: str, schedule: str, dtype: torch.dtype):
    config = FitConfig(
        optimizer=optimizer, schedule=schedule, lr=0.01, epochs=4, batch_size=8, weight_decay=0.01, warmup_steps=2
    )  # fmt: skip
    inputs, targets = problem(20, dtype)
    [found] = fit(lambda s: small_network(s, dtype=dtype), inputs, targets, config, [3])
    expected = textbook(small_network(3, dtype=dtype), inputs, targets, config, 3)
    # Gradients of the convolution's bias are rounding noise about zero, which Adam magnifies; nothing depends on it.
    for module in (found.module, expected):
        torch.nn.init.zeros_(module[0].bias)  # type: ignore[index]
    assert distance(found.module, expected) < (1e-10 if dtype == torch.float64 else 2e-4)


def test_full_batch_with_batch_norm_equals_the_textbook_loop():
    inputs, targets = problem(20, torch.float64)
    config = FitConfig(epochs=5, batch_size=None, lr=0.05)
    [found] = fit(lambda s: small_network(s, "bn", torch.float64), inputs, targets, config, [0])
    expected = textbook(small_network(0, "bn", torch.float64), inputs, targets, config, 0)
    assert "whole batches" in found.how
    assert distance(found.module, expected) < 1e-10


def test_a_seed_gives_the_same_bits_whatever_the_others_are_and_leaves_the_global_generator_alone():
    inputs, targets = problem()
    config = FitConfig(epochs=3, batch_size=8, augment="crop_flip", mix="mixup")
    before = torch.random.get_rng_state()
    both = fit(small_network, inputs, targets, config, [1, 2])
    turned = fit(small_network, inputs, targets, config, [2, 1])
    [alone] = fit(small_network, inputs, targets, config, [2])
    assert torch.equal(state_of(both[1].module), state_of(turned[0].module))
    assert torch.equal(state_of(both[1].module), state_of(alone.module))
    assert not torch.equal(state_of(both[0].module), state_of(both[1].module))
    assert torch.equal(before, torch.random.get_rng_state())


def test_dropout_is_drawn_from_the_seed():
    def build(seed: int) -> torch.nn.Module:
        return torch.nn.Sequential(small_network(seed), torch.nn.Dropout(0.5))

    inputs, targets = problem()
    config = FitConfig(epochs=2, batch_size=8)
    first, second = (fit(build, inputs, targets, config, [seed, 7])[1] for seed in (1, 2))
    assert torch.equal(state_of(first.module), state_of(second.module))
    [alone] = fit(build, inputs, targets, config, [7])
    assert torch.equal(state_of(first.module), state_of(alone.module)), "the first call of all plans"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_dropout_acts_on_every_seed(precision, monkeypatch):
    monkeypatch.setattr("decoct.training.pieces.native_bfloat16", lambda _: True)
    shares = []

    class Counted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, x):
            kept = self.drop(torch.ones_like(x))
            if self.training:
                shares.append(float((kept == 0).float().mean()))
            return x * kept

    def build(seed: int) -> torch.nn.Module:
        return torch.nn.Sequential(small_network(seed), Counted())

    inputs, targets = problem()
    for seeds in ([1], [1, 1]):
        shares.clear()
        runs = fit(build, inputs, targets, FitConfig(epochs=2, batch_size=8, precision=precision), seeds)
        assert min(shares[-4:]) > 0, "the last seed drops as the first does"
    assert torch.equal(state_of(runs[0].module), state_of(runs[1].module))


def test_weights_equal_repeated_rows():
    inputs, targets = problem(6, torch.float64)
    config = FitConfig(epochs=4, batch_size=None, lr=0.05)
    counts = torch.tensor([1, 3, 1, 2, 1, 1])
    [weighted] = fit(
        lambda s: small_network(s, dtype=torch.float64), inputs, targets, config, [0], weights=counts.double()
    )  # fmt: skip
    [repeated] = fit(
        lambda s: small_network(s, dtype=torch.float64), inputs.repeat_interleave(counts, 0),
        targets.repeat_interleave(counts), config, [0],
    )  # fmt: skip
    assert distance(weighted.module, repeated.module) < 1e-10


def test_soft_labels_that_are_one_hot_equal_hard_labels():
    inputs, targets = problem()
    one_hot = F.one_hot(targets, 3).float()
    config = FitConfig(epochs=3)
    [hard] = fit(small_network, inputs, targets, config, [0])
    [soft] = fit(small_network, inputs, one_hot, config, [0], label_kind="probabilities")
    assert distance(hard.module, soft.module) < 1e-5
    [scores] = fit(small_network, inputs, one_hot, config, [0], label_kind="scores")
    assert distance(hard.module, scores.module) > 1e-3


def test_bfloat16_stays_close_to_float32(monkeypatch):
    monkeypatch.setattr("decoct.training.pieces.native_bfloat16", lambda _: True)
    inputs, targets = problem()
    runs = [
        fit(small_network, inputs, targets, FitConfig(epochs=10, precision=kind), [0])[0]  # type: ignore[arg-type]
        for kind in ("float32", "bfloat16")
    ]
    assert all(value.dtype == torch.float32 for value in runs[1].module.state_dict().values())
    assert 0 < distance(runs[0].module, runs[1].module) < 0.02
    assert "bfloat16" in runs[1].how


def test_averaged_weights_by_hand():
    inputs, targets = problem()
    config = FitConfig(epochs=1, batch_size=None, ema=0.99)
    [averaged] = fit(small_network, inputs, targets, config, [0])
    [plain] = fit(small_network, inputs, targets, FitConfig(epochs=1, batch_size=None), [0])
    decay = min(0.99, 2 / 11)
    expected = decay * state_of(small_network(0)) + (1 - decay) * state_of(plain.module)
    torch.testing.assert_close(state_of(averaged.module), expected)


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixing_changes_training_and_counts_distinct_rows(mix: str):
    inputs, targets = problem()
    config = FitConfig(epochs=5, batch_size=8)
    [plain] = fit(small_network, inputs, targets, config, [0])
    [mixed] = fit(small_network, inputs, targets, FitConfig(epochs=5, batch_size=8, mix=mix), [0])  # type: ignore[arg-type]
    assert distance(plain.module, mixed.module) > 1e-4
    assert (plain.samples_seen, plain.distinct_samples) == (100, 20)
    assert (mixed.samples_seen, mixed.distinct_samples) == (100, 100)


def test_looks_at_the_asked_passes_and_keeps_the_best():
    inputs, targets = problem()
    seen: list[int] = []

    def evaluate(module: torch.nn.Module, epoch: int) -> float:
        assert not module.training
        seen.append(epoch)
        return {2: 0.4, 4: 0.9, 5: 0.9}[epoch]

    config = FitConfig(epochs=5)
    [found] = fit(
        small_network, inputs, targets, config, [0], evaluate=evaluate, evaluate_every=2, keep_best=True
    )  # fmt: skip
    assert seen == [2, 4, 5]
    assert (found.last, found.best, found.best_epoch) == (0.9, 0.9, 4)
    [four] = fit(small_network, inputs, targets, FitConfig(epochs=4, schedule="constant"), [0])
    [five] = fit(
        small_network, inputs, targets, FitConfig(epochs=5, schedule="constant"), [0],
        evaluate=evaluate, evaluate_every=2, keep_best=True,
    )  # fmt: skip
    assert five.best_state is not None
    assert all(torch.equal(five.best_state[name], value) for name, value in four.module.state_dict().items())


def test_ticks_over_all_seeds():
    inputs, targets = problem()
    ticks: list[float] = []
    fit(small_network, inputs, targets, FitConfig(epochs=2), [0, 1], tick=lambda done, note="": ticks.append(done))
    assert ticks == [1, 2, 3, 4]


def test_a_data_set_is_learned_without_a_float_copy():
    data = blob_images(per_class=30)
    config = FitConfig(epochs=20, batch_size=16, lr=0.02)
    [found] = fit_dataset(small_network, data, config, [0], evaluate=lambda m, _: accuracy(m, data, data.val))
    [copied] = fit(small_network, data.inputs(data.train), data.train.labels(), config, [0])
    assert found.last is not None
    assert found.last > 0.8
    assert torch.equal(state_of(found.module), state_of(copied.module))


def test_divergence_says_what_to_do():
    inputs, targets = problem()
    with pytest.raises(DivergenceError) as caught:
        fit(small_network, inputs * float("inf"), targets, FitConfig(epochs=2, lr=0.5), [4])
    text = str(caught.value)
    assert "training with sgd, seed 4, pass 1 of 2" in text
    assert "received: a mean loss of nan" in text
    assert "what to do: lower lr (now 0.5), add warmup_steps, or check the inputs for NaN and infinity" in text


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_frozen_weights_are_not_trained_and_are_frozen_afterwards(ema: float):
    def build(seed: int) -> torch.nn.Module:
        module = small_network(seed)
        module[0].requires_grad_(False)  # type: ignore[index]
        return module

    inputs, targets = problem()
    [found] = fit(build, inputs, targets, FitConfig(epochs=2, batch_size=8, lr=0.1, ema=ema), [3])
    pairs = zip(found.module.named_parameters(), small_network(3).parameters(), strict=True)
    for (name, own), start in pairs:
        assert own.requires_grad != name.startswith("0.")
        assert torch.equal(own, start) == name.startswith("0.")


def vectors(seed: int) -> torch.nn.Module:
    """Batch normalisation of vectors, which cannot take one row."""
    with seeded(seed):
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, 6), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 3)
        )


@pytest.mark.parametrize("shown_by", [None, torch.ones(9)])
def test_a_last_row_goes_with_the_batch_before_where_it_cannot_go_alone(shown_by):
    inputs, targets = problem(9)
    config = FitConfig(epochs=2, batch_size=4, schedule="cosine", lr=0.05)
    for build, sizes in ((vectors, [4, 5]), (lambda s: small_network(s, "bn"), [4, 4, 1])):
        job = Job(build, TensorSource(inputs, "cpu"), targets, config, "hard", None, "cpu", None, 0, False,
                  shown_by=shown_by)  # fmt: skip
        batches = Batches(job, build(0).train(), Streams(0))
        plain = Batches(job, small_network(0).train(), Streams(0))
        found, expected = ([batch[0] for batch in one.of_pass(1)] for one in (batches, plain))
        assert [len(batch) for batch in found] == sizes
        assert torch.equal(torch.cat(found), torch.cat(expected))
        assert batches.steps == 2 * len(sizes)
    [fitted] = fit(vectors, inputs, targets, config, [0])
    assert all(torch.isfinite(weight).all() for weight in fitted.module.parameters())


@pytest.mark.parametrize(("rows", "size"), [(9, 1), (1, 4)])
def test_batches_of_one_row_are_refused_where_the_network_cannot_take_them(rows: int, size: int):
    inputs, targets = problem(rows)
    with pytest.raises(ConfigError, match="batches of at least two rows"):
        fit(vectors, inputs, targets, FitConfig(epochs=1, batch_size=size), [0])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"lr": 0.0}, "expected: a number above 0"),
        ({"temperature": 0.0}, "expected: a number above 0"),
        ({"ema": 1.0}, "a number from 0 to 1, 1 left out"),
        ({"batch_size": 0}, "expected: 1 or more"),
        ({"epochs": 2.5}, "setting epochs of a FitConfig\n  received: 2.5\n  expected: a whole number"),
    ],
)
def test_bad_settings(change: dict, text: str):
    with pytest.raises(ConfigError) as caught, as_callers_do():
        FitConfig(**change)
    assert text in str(caught.value)


def test_targets_and_weights_that_do_not_fit():
    inputs, targets = problem()
    config = FitConfig(epochs=1)
    with pytest.raises(ConfigError, match="as many targets as inputs"):
        # The annotations of `fit`, which are checked in tests, would refuse this first.
        Job(
            small_network, TensorSource(inputs, "cpu"), targets[:5], config, "hard", None, "cpu", None, 0, False
        )  # fmt: skip
    with pytest.raises(ConfigError, match=r"int64 \[m\] for hard labels"):
        fit(small_network, inputs, targets, config, [0], label_kind="probabilities")
    with pytest.raises(ConfigError, match="20 weights of at least 0, not all 0"):
        fit(small_network, inputs, targets, config, [0], weights=torch.zeros(20))
    with pytest.raises(ConfigError, match="the labels are scores"):
        fit(small_network, inputs, F.one_hot(targets).float(), FitConfig(loss="ce"), [0], label_kind="scores")

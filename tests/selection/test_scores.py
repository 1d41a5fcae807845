"""Scores from dynamics: by hand, against each other, against the faults of other libraries."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from toys import blob_features, blob_images

from decoct.data.dataset import Dataset, Split
from decoct.errors import ConfigError
from decoct.selection.scores import SCORES, dynamic_uncertainty, forgetting, variability
from decoct.training.config import FitConfig
from decoct.training.dynamics import Dynamics, record_dynamics
from decoct.training.looks import row_facts


def dynamics(probability: torch.Tensor, correct: torch.Tensor | None = None) -> Dynamics:
    correct = probability > 0.5 if correct is None else correct
    miss = 1 - probability
    return Dynamics(miss, probability, correct, miss, miss, miss, miss, miss, (0.5,) * probability.shape[1])


def test_forgetting_counts_losses_and_never_learned_is_hardest():
    correct = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]]).bool()
    scores = forgetting(dynamics(torch.rand(4, 4), correct))
    assert scores.tolist() == [0, 2, 4, 0]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(0, 1000))
def test_a_window_as_long_as_the_training_is_variability(passes, seed):
    found = dynamics(torch.rand(9, passes, generator=torch.Generator().manual_seed(seed)))
    assert torch.allclose(dynamic_uncertainty(found, passes), variability(found), atol=1e-6)


def test_windows_by_hand_and_a_zero_is_a_value():
    found = dynamics(torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]]))
    expected = torch.tensor([0.0, 1.0]).std()
    assert dynamic_uncertainty(found, 2).tolist() == pytest.approx([float(2 * expected / 3), 0.0])


@pytest.mark.parametrize("window", [1, 5])
def test_windows_that_do_not_fit(window):
    with pytest.raises(ConfigError, match="no longer than the recording"):
        dynamic_uncertainty(dynamics(torch.rand(3, 4)), window)


@pytest.fixture(scope="module")
def mislabelled() -> tuple[Dynamics, torch.Tensor]:
    """Easy images, a tenth of them with a wrong label."""
    data = blob_images(classes=3, per_class=40)
    labels = data.train.labels().clone()
    wrong = torch.arange(0, len(labels), 10)
    labels[wrong] = (labels[wrong] + 1) % 3
    train = Split(data.train.x, labels.numpy(), data.train.ids)
    config = FitConfig(lr=0.05, momentum=0.9, epochs=6, batch_size=12)
    changed = Dataset(data.spec, train, data.val, data.test)
    return record_dynamics(changed, "convnet2-w8", 6, 0, config=config), wrong


@pytest.mark.parametrize("name", ["aum", "confidence", "correctness", "el2n", "grand"])
def test_mislabelled_rows_are_hardest(name, mislabelled):
    found, wrong = mislabelled
    scores = SCORES[name].of(found)
    planted = torch.zeros(len(scores), dtype=torch.bool)
    planted[wrong] = True
    better = (scores[planted][:, None] > scores[~planted][None]).float().mean()
    assert better > 0.9, "the chance that a mislabelled row scores above a clean one"


LEARNED = (0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999, 0.9999999)


@pytest.mark.parametrize("name", ["confidence", "entropy", "least-confidence", "margin"])
def test_rows_that_are_all_but_learned_keep_their_order_through_the_file(name, tmp_path, monkeypatch):
    data = blob_features(classes=2, per_class=4)
    logit = torch.tensor([math.log(p / (1 - p)) for p in (0.1, *LEARNED)])
    labels = data.train.labels()
    logits = torch.zeros(8, 2).scatter(1, labels[:, None], logit[:, None])

    def as_they_are(*_, **__):
        return row_facts(torch.zeros(8, 1), logits, labels)

    monkeypatch.setattr("decoct.training.dynamics.observe", as_they_are)
    made = SCORES[name].of(record_dynamics(data, "mlp-w8", 2, cache=tmp_path))[1:]
    assert made.argsort(descending=True, stable=True).tolist() == list(range(len(LEARNED)))
    assert len(set(made.tolist())) == len(LEARNED), "none of them are equals"
    if name == "least-confidence":
        assert made.tolist() == pytest.approx([1 - p for p in LEARNED], rel=1e-2)
    monkeypatch.setattr("decoct.training.dynamics.fit_dataset", lambda *_, **__: pytest.fail("trained again"))
    read = SCORES[name].of(record_dynamics(data, "mlp-w8", 2, cache=tmp_path))[1:]
    assert torch.equal(made, read)


def test_a_recording_of_probabilities_in_halves_is_another_schema_and_made_again(tmp_path):
    data = blob_features()
    record_dynamics(data, "mlp-w8", 2, cache=tmp_path)
    [path] = tmp_path.iterdir()
    with safe_open(path, framework="pt") as file:
        head = file.metadata()
        tables = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    facts = json.loads(head["facts"])
    del facts["schema"]
    probability = (1 - tables.pop("miss")).half()
    save_file({**tables, "probability": probability}, path, {**head, "facts": json.dumps(facts, sort_keys=True)})
    again = record_dynamics(data, "mlp-w8", 2, cache=tmp_path)
    assert again.miss.dtype == torch.float32
    with safe_open(path, framework="pt") as file:
        assert "miss" in file.keys()  # noqa: SIM118


@pytest.mark.parametrize("name", SCORES)
def test_every_score_is_finite_and_one_a_row(name, mislabelled):
    scores = SCORES[name].of(mislabelled[0])
    assert scores.shape == (120,)
    assert torch.isfinite(scores).all()

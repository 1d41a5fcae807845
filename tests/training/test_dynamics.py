"""Recorded dynamics against what autograd and a second network say."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from toys import blob_features, blob_images

from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.networks.embedding import embed_and_classify
from decoct.training.dynamics import record_dynamics
from decoct.training.expert import train_expert
from decoct.training.looks import Watched, observe, row_facts


def test_the_factorised_gradient_norm_is_that_of_the_materialised_gradient():
    data = blob_images(classes=3, per_class=4)
    module = network("convnet2-w4", (1, 8, 8), 3, 0).eval()
    inputs, labels = data.inputs(data.train), data.train.labels()
    features, logits = embed_and_classify(module, inputs)
    facts = row_facts(features.detach(), logits.detach(), labels)
    head = module.classifier
    for row in range(len(inputs)):
        loss = F.cross_entropy(head(features[row : row + 1].detach()), labels[row : row + 1])
        parts = torch.autograd.grad(loss, list(head.parameters()))
        norm = torch.cat([part.flatten() for part in parts]).norm()
        assert float(facts["gradient_norm"][row]) == pytest.approx(float(norm), rel=1e-4)


def test_facts_of_rows_by_hand():
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
    facts = row_facts(torch.zeros(2, 1), logits, torch.tensor([0, 2]))
    p = logits.softmax(1)
    assert facts["miss"].tolist() == pytest.approx([1 - float(p[0, 0]), 1 - float(p[1, 2])])
    assert facts["margin"].tolist() == pytest.approx([1.0, -2.0])
    assert facts["correct"].tolist() == [True, False]
    assert facts["error_norm"].tolist() == pytest.approx((p - torch.eye(3)[[0, 2]]).norm(dim=1).tolist())
    assert facts["entropy"].tolist() == pytest.approx((-(p * p.log()).sum(1)).tolist())
    assert facts["doubt"].tolist() == pytest.approx([1 - float(p[0, 0]), 1 - float(p[1, 1])])
    lead = [float(p[0, 0] - p[0, 2]), float(p[1, 1] - p[1, 2])]
    assert facts["rivalry"].tolist() == pytest.approx([1 - value for value in lead])


def test_facts_of_a_row_that_is_all_but_learned_are_not_zero():
    logits = torch.tensor([[30.0, 0.0, 1.0]])
    facts = row_facts(torch.zeros(1, 1), logits, torch.tensor([0]))
    p = logits.double().softmax(1)[0]
    lacks = float(p[1] + p[2])
    assert 1 - float(logits.softmax(1)[0, 0]) == 0, "in single precision the probability itself is 1"
    assert float(facts["miss"]) == pytest.approx(lacks, rel=1e-4)
    assert float(facts["doubt"]) == pytest.approx(lacks, rel=1e-4)
    assert float(facts["rivalry"]) == pytest.approx(lacks + float(p[2]), rel=1e-4)
    assert float(facts["error_norm"]) == pytest.approx(math.hypot(lacks, float(p[1]), float(p[2])), rel=1e-4)
    assert float(facts["entropy"]) == pytest.approx(float(torch.special.entr(p).sum()), rel=1e-4)


def test_one_column_a_pass_and_the_last_is_the_trained_network():
    data = blob_images(classes=3, per_class=8)
    found = record_dynamics(data, "convnet2-w4", epochs=4, seed=1)
    assert found.probability.shape == (24, 4)
    assert len(found.val_accuracy) == 4
    assert not torch.equal(found.probability[:, 0], found.probability[:, -1])
    assert ((found.probability >= 0) & (found.probability <= 1)).all()
    again = record_dynamics(data, "convnet2-w4", epochs=4, seed=1)
    assert torch.equal(found.margin, again.margin), "the same seed tells the same"


def test_a_recording_is_read_again_and_not_made_again(tmp_path, monkeypatch):
    data = blob_features()
    first = record_dynamics(data, "mlp-w8", epochs=3, cache=tmp_path)
    monkeypatch.setattr("decoct.training.dynamics.fit_dataset", lambda *_, **__: pytest.fail("trained again"))
    second = record_dynamics(data, "mlp-w8", epochs=3, cache=tmp_path)
    for name in ("miss", "margin", "correct", "entropy", "doubt", "rivalry", "gradient_norm"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert second.val_accuracy == first.val_accuracy


def test_a_damaged_or_foreign_recording_is_made_again(tmp_path):
    data = blob_features()
    record_dynamics(data, "mlp-w8", epochs=2, cache=tmp_path)
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert record_dynamics(data, "mlp-w8", epochs=2, cache=tmp_path).passes == 2


def test_a_recording_and_an_expert_of_another_network_under_the_same_name_are_not_read(tmp_path, monkeypatch):
    data = blob_features()
    for kind in ("dynamics", "expert"):
        monkeypatch.setattr(f"decoct.training.{kind}.network_identity", lambda name, shape, classes: f"{name}@one")
    record_dynamics(data, "mlp-w8", epochs=2, cache=tmp_path)
    train_expert(data, "mlp-w8", 2, 0, cache=tmp_path)
    for kind in ("dynamics", "expert"):
        monkeypatch.setattr(f"decoct.training.{kind}.network_identity", lambda name, shape, classes: f"{name}@two")
    monkeypatch.setattr("decoct.training.dynamics.fit_dataset", lambda *_, **__: pytest.fail("made again"))
    monkeypatch.setattr("decoct.training.expert.fit_dataset", lambda *_, **__: pytest.fail("made again"))
    with pytest.raises(pytest.fail.Exception, match="made again"):
        record_dynamics(data, "mlp-w8", epochs=2, cache=tmp_path)
    with pytest.raises(pytest.fail.Exception, match="made again"):
        train_expert(data, "mlp-w8", 2, 0, cache=tmp_path)


def test_observing_changes_nothing():
    data = blob_images()
    module = network("convnet2-w4-bn", (1, 8, 8), 3, 0).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    observe(Watched("a test", 3, 0, module), data)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_compiled_look_tells_what_a_plain_one_tells():
    data = blob_images(classes=3, per_class=8)
    module = network("convnet2-w4", (1, 8, 8), 3, 0)
    plain = observe(Watched("plain", 3, 0, module), data)
    fast = observe(Watched("compiled", 3, 10**9, module), data)
    for name, values in plain.items():
        assert torch.allclose(fast[name].float(), values.float(), atol=1e-4), name


def test_looks_of_another_training_are_not_taken():
    data = blob_images(classes=3, per_class=8)
    first, second = (network("convnet2-w4", (1, 8, 8), 3, seed) for seed in (0, 1))
    alone = observe(Watched("second", 3, 10**9, second), data)
    observe(Watched("first", 3, 10**9, first), data)
    after = observe(Watched("second", 3, 10**9, second), data)
    assert all(torch.equal(alone[name], after[name]) for name in alone)


def test_too_few_passes_say_what_to_ask_for():
    with pytest.raises(ConfigError, match="2 or more(.|\n)*10 to 30"):
        record_dynamics(blob_features(), epochs=1)

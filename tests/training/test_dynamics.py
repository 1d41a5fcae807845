"""Recorded dynamics against what autograd and a second network say."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from toys import blob_features, blob_images
from untyped import as_callers_do

from decoct.applications.class_subset import only_classes
from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.networks.embedding import embed_and_classify
from decoct.training.config import FitConfig
from decoct.training.dynamics import dynamics_config, record_dynamics
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
    second = record_dynamics(data, "mlp-w8", epochs=3, device="meta", cache=tmp_path)
    assert (first.device, second.device) == ("cpu", "cpu"), "it says where it was made, wherever it is read"
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


@pytest.mark.parametrize("name", ["convnet2-w4", "mlp-w8"])
@pytest.mark.parametrize("batch_size", [5, 24])
def test_looks_during_a_pass_over_weights_that_hardly_move_are_those_after_it(name: str, batch_size: int):
    data = blob_images(classes=3, per_class=8)
    still = FitConfig(optimizer="sgd", lr=1e-9, epochs=2, batch_size=batch_size)
    during = record_dynamics(data, name, epochs=2, config=still, look="during")
    after = record_dynamics(data, name, epochs=2, config=still)
    for kept in ("miss", "margin", "correct", "error_norm", "gradient_norm", "entropy", "doubt", "rivalry"):
        torch.testing.assert_close(getattr(during, kept), getattr(after, kept), rtol=2e-3, atol=1e-5)
    assert during.val_accuracy == after.val_accuracy


def test_a_look_during_a_pass_is_of_the_weights_before_the_step():
    data = blob_images(classes=3, per_class=8)
    config = FitConfig(optimizer="sgd", lr=0.5, epochs=2, batch_size=24)
    during = record_dynamics(data, "convnet2-w4", epochs=2, config=config, look="during")
    after = record_dynamics(data, "convnet2-w4", epochs=2, config=config)
    torch.testing.assert_close(during.miss[:, 1], after.miss[:, 0], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(during.miss[:, 1], after.miss[:, 1])
    assert during.val_accuracy == after.val_accuracy, "watching changes no step"


def test_a_compiled_training_shows_its_batches_as_a_plain_one(monkeypatch):
    data = blob_images(classes=3, per_class=8)
    config = FitConfig(optimizer="sgd", lr=0.05, epochs=2, batch_size=9)
    plain = record_dynamics(data, "convnet2-w4", epochs=2, config=config, look="during")
    monkeypatch.setattr("decoct.training.graphs.WORTH_FLOPS", 0.0)
    fast = record_dynamics(data, "convnet2-w4", epochs=2, config=config, look="during")
    torch.testing.assert_close(fast.miss, plain.miss, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(fast.gradient_norm, plain.gradient_norm, rtol=1e-2, atol=1e-3)


def test_looks_of_either_kind_are_kept_apart(tmp_path):
    data, asked = blob_features(), {"name": "mlp-w8", "epochs": 2, "cache": tmp_path}
    after = record_dynamics(data, **asked)
    during = record_dynamics(data, **asked, look="during")
    assert not torch.equal(after.miss, during.miss)
    assert torch.equal(record_dynamics(data, **asked).miss, after.miss)
    assert torch.equal(record_dynamics(data, **asked, look="during").miss, during.miss)


def test_looks_during_a_pass_want_every_row_once():
    data = blob_features()
    uneven = data.with_weights(torch.linspace(0.5, 1.5, len(data.train)))
    with pytest.raises(ConfigError, match=r"received: +rows with weights(.|\n)*look='after'"):
        record_dynamics(uneven, "mlp-w8", epochs=2, look="during")
    mixed = FitConfig(optimizer="sgd", lr=0.1, epochs=2, mix="mixup")
    with pytest.raises(ConfigError, match="rows mixed by mixup"):
        record_dynamics(data, "mlp-w8", epochs=2, config=mixed, look="during")
    with pytest.raises(ConfigError, match="one of 'after', 'during'"), as_callers_do():
        record_dynamics(data, "mlp-w8", epochs=2, look="between")  # pyright: ignore[reportArgumentType]


def test_a_training_that_is_watched_ends_with_the_weights_of_one_that_is_not():
    data = blob_images(classes=3, per_class=8)
    config = dynamics_config(len(data.train), 3)
    watched = record_dynamics(data, "convnet2-w4-bn", epochs=3, config=config, look="during")
    alone = record_dynamics(data, "convnet2-w4-bn", epochs=3, config=config)
    assert watched.val_accuracy == alone.val_accuracy


def test_one_class_says_what_to_give():
    data = blob_images(classes=3, per_class=8)
    alone = only_classes(data, [1])
    with pytest.raises(ConfigError, match="rows of one class(.|\n)*two classes or more"):
        record_dynamics(alone, "convnet2-w4", epochs=2)


def test_too_few_passes_say_what_to_ask_for():
    with pytest.raises(ConfigError, match="2 or more(.|\n)*10 to 30"):
        record_dynamics(blob_features(), epochs=1)

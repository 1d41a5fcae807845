"""Weights against a bias: closed forms, an independent reference, what they find in a biased toy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toys import blob_images

import decoct
from decoct.errors import ConfigError, MismatchError
from decoct.trust.bias import reweight
from decoct.trust.bias.early import generalised_cross_entropy
from decoct.trust.bias.groups import Groups
from decoct.trust.bias.make import Bias, make_biased
from decoct.trust.bias.reweight import (
    balanced,
    by_density,
    by_early_errors,
    by_groups,
    density,
    halves,
    neighbour_distance,
)


@pytest.fixture(scope="module")
def biased(tmp_path_factory):
    return make_biased(decoct.open("digits"), Bias(correlation=0.9), tmp_path_factory.mktemp("biased"))


def test_known_groups_have_the_same_weight_in_a_class():
    labels = np.array([0, 0, 0, 0, 1, 1])
    attributes = np.array([0, 0, 0, 2, 1, 1])
    weights = balanced(labels, attributes)
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2, 1, 1])
    assert weights[labels == 0].sum() == 4


def test_density_against_its_definition():
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    wanted = [np.mean([np.exp(-(float((a - b).norm()) ** 2) / (2 * 0.7**2)) for b in points]) for a in points]
    np.testing.assert_allclose(density(points, points, 0.7), wanted, rtol=1e-4)
    line = torch.arange(30.0)[:, None]
    assert neighbour_distance(line) == pytest.approx(5.0), "five on each side, fewer at the ends"
    assert neighbour_distance(torch.zeros(1, 2)) == 1e-4


def test_weights_by_density_are_those_of_groups_where_groups_are_points():
    """Rows of one group in one place, groups far apart: the inverse density is one over the size of the group."""
    places = torch.eye(3)[[0] * 6 + [1] * 3 + [2]]
    weights = 1 / density(places, places, 0.05)
    groups = balanced(np.zeros(10, np.int64), np.array([0] * 6 + [1] * 3 + [2]))
    np.testing.assert_allclose(weights / weights.mean(), groups, rtol=1e-6)


def test_a_lone_validation_row_weighs_no_more_than_a_lone_training_row_would():
    near, far = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]]), dim=1), torch.tensor([[-1.0, 0.0]])
    others = torch.cat([near.repeat(20, 1), far])
    alone = torch.tensor([[0.0, -1.0]])
    assert float(density(alone, others, 0.05, among=False)) == pytest.approx(1 / 62)
    assert float(density(far, others, 0.05)) == pytest.approx(1 / 61)
    assert float(density(near[:1], others, 0.05, among=False)) == pytest.approx(
        (float(density(near[:1], others, 0.05)) * 61 + 1) / 62
    )


def test_no_validation_row_outweighs_its_class(biased):
    """Two of 18 rows of a class are conflicting; a row has up to 94 % of the weight of its class without the floor."""
    data = biased.data
    table = by_density(data, network="convnet2-w16")
    weighted = data.with_weights(table)
    own = weighted.val.weights
    assert own is not None
    most = [own[data.val.y == c].max() / own[data.val.y == c].sum() for c in range(10)]
    assert max(most) < 0.62
    counts = np.bincount(data.train.y)
    for c in range(10):
        mine = own[data.val.y == c]
        assert mine.max() / mine.min() <= counts[c] + 1


def test_equal_rows_are_no_distance_apart():
    row = F.normalize(torch.randn(1, 256, generator=torch.Generator().manual_seed(1)), dim=1)
    rows = torch.cat([row.repeat(40, 1), -row])
    assert neighbour_distance(rows) == 1e-4
    np.testing.assert_allclose(density(rows, rows, 1e-4), [40 / 41] * 40 + [1 / 41], rtol=1e-12)


def test_halves():
    labels = np.array([0, 0, 0, 0, 1, 1])
    wrong = np.array([True, False, False, False, False, False])
    np.testing.assert_allclose(halves(labels, wrong, 0.75), [3, 1 / 3, 1 / 3, 1 / 3, 1, 1])


def test_generalised_cross_entropy_and_its_gradient():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 0])
    own = logits.softmax(1)[torch.arange(5), labels]
    loss = generalised_cross_entropy(logits, labels)
    torch.testing.assert_close(loss, ((1 - own**0.7) / 0.7).mean())
    (found,) = torch.autograd.grad(loss, logits)
    plain = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, labels, reduction="none").sum(), logits)[0]
    torch.testing.assert_close(found, plain * own.detach()[:, None] ** 0.7 / 5)


@pytest.mark.parametrize("by", ["groups", "density", "errors"])
def test_conflicting_rows_gain_weight(biased, by):
    data, groups = biased.data, biased.groups
    if by == "groups":
        table = by_groups(data, groups)
    else:
        table = (by_density if by == "density" else by_early_errors)(data, network="convnet2-w16")
    weighted = data.with_weights(table)
    for split, name in ((weighted.train, "training"), (weighted.val, "validation")):
        conflicting = ~groups.aligned_in(data, split, name)
        assert split.weights is not None
        share = split.weights[conflicting].sum() / split.weights.sum()
        assert share > 2.5 * conflicting.mean(), (by, name, share, conflicting.mean())
    if by == "groups":
        conflicting = ~groups.aligned_in(data, data.train, "training")
        assert weighted.train.weights[conflicting].sum() / len(conflicting) == pytest.approx(0.9, abs=0.01)


def test_the_same_seed_gives_the_same_weights(biased):
    first, again = (by_early_errors(biased.data, network="convnet2-w16", seed=3) for _ in range(2))
    assert (first.values == again.values).all()


def test_bad_input(biased):
    with pytest.raises(ConfigError, match="bandwidth=-1.0"):
        by_density(biased.data, bandwidth=-1.0)
    with pytest.raises(ConfigError, match=r"share=1\.0"):
        by_early_errors(biased.data, share=1.0)
    some = Groups(biased.groups.ids[:5], biased.groups.attributes[:5])
    with pytest.raises(MismatchError, match="groups of the training rows(.|\n)*needs no groups"):
        by_groups(biased.data, some)


def test_the_usual_share_of_many_classes_is_that_of_ten_attributes(monkeypatch):
    """12 classes, of which the early network gets some rows wrong; there are 10 attributes at most."""
    data = blob_images(classes=12, per_class=10)

    def seen(module, data, split, device):
        return None, F.one_hot(torch.from_numpy((split.y + (np.arange(len(split)) % 5 == 0)) % 12), 12).float()

    monkeypatch.setattr(reweight, "_seen", seen)
    monkeypatch.setattr(reweight, "early_network", lambda *_: None)
    weights = data.with_weights(by_early_errors(data)).train.weights
    wrong = np.arange(len(data.train)) % 5 == 0
    shares = [weights[own & wrong].sum() / weights[own].sum() for own in (data.train.y == c for c in range(12))]
    assert shares == pytest.approx([0.9] * 12)

"""LiRA: a memoriser is seen through, a constant network is not, and the formula is the paper's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from decoct.applications.privacy.lira import Lira, _require, balanced, halves, logit_confidence, roc
from decoct.applications.privacy.membership import LIRA, _attacked
from decoct.errors import ConfigError


def planted(rows=2000, models=17, gap=6.0, seed=0):
    """Confidences of networks that gain `gap` on the rows they were trained on; rows are hard or easy by themselves."""
    generator = torch.Generator().manual_seed(seed)
    members = torch.cat([halves(rows, models - 1, seed), halves(rows, 2, seed + 1)[:1]])
    level = 3 * torch.randn(rows, generator=generator)
    said = level + torch.randn(models, rows, generator=generator) + gap * members
    return said.double(), members


def test_confidence_is_the_log_odds_of_the_right_class_even_where_it_is_sure():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.3, 0.2, 0.1]])
    labels = torch.tensor([0, 2])
    p = logits.double().softmax(1)[torch.arange(2), labels]
    assert torch.allclose(logit_confidence(logits, labels), torch.log(p / (1 - p)))
    sure = logit_confidence(torch.tensor([[200.0, 0.0]]), torch.tensor([0]))
    assert float(sure) == pytest.approx(200.0), "1 - p rounds to 0 here"


def test_every_row_is_with_exactly_half_of_the_networks():
    members = halves(500, 8, 0)
    assert members.sum(0).tolist() == [4] * 500
    assert torch.equal(members, halves(500, 8, 0))
    assert not torch.equal(members, halves(500, 8, 1))
    share = members.float().mean(1)
    assert float((share - 0.5).abs().max()) < 0.1
    with pytest.raises(ConfigError, match="even number"):
        halves(10, 5, 0)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_memoriser_is_seen_through_and_a_constant_network_is_not(mode):
    said, members = planted()
    found = roc(Lira(mode).scores(said[-1], said[:-1], members[:-1]), members[-1])
    assert found.tpr[0.001] > 0.95
    assert found.tpr[0.01] > 0.99
    assert found.auc > 0.99
    constant = torch.full_like(said, 1.25)
    nothing = roc(Lira(mode).scores(constant[-1], constant[:-1], members[:-1]), members[-1])
    assert nothing.tpr == {0.001: 0.0, 0.01: 0.0}
    assert nothing.auc == 0.5
    deaf, others = planted(gap=0.0)
    chance = roc(Lira(mode).scores(deaf[-1], deaf[:-1], others[:-1]), others[-1])
    assert chance.tpr[0.01] < 0.03
    assert chance.auc == pytest.approx(0.5, abs=0.04)


def left_out(models, gap, seed=0, rows=20_000, attack=LIRA):
    """Every network attacked with the others, as `membership` does."""
    generator = torch.Generator().manual_seed(seed)
    members = halves(rows, models, seed)
    said = 3 * torch.randn(rows, generator=generator) + torch.randn(models, rows, generator=generator) + gap * members
    cells = [{"confidence": one.tolist(), "accuracy": 0.5, "rows": rows // 2, "seconds": 0.0} for one in said]
    return _attacked("toy", cells, members, attack, seed), said.double(), members


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("models", [6, 8, 16])
def test_networks_that_learned_nothing_of_their_rows_are_attacked_no_better_and_no_worse_than_by_a_guess(models, mode):
    found, _, _ = left_out(models, gap=0.0, attack=Lira(mode))
    assert np.mean(found.auc) == pytest.approx(0.5, abs=0.004)
    assert np.mean(found.tpr[0.01]) == pytest.approx(0.01, abs=0.001)


def test_as_many_shadows_on_both_sides_see_a_weak_signal_that_unequal_ones_hide():
    found, said, members = left_out(6, gap=0.4)
    unequal = []
    for number in range(6):
        rest = [other for other in range(6) if other != number]
        unequal.append(roc(Lira().scores(said[number], said[rest], members[rest]), members[number]).auc)
    assert np.mean(found.auc) > np.mean(unequal) + 0.02
    # With all means known it is the chance that one of two unit Gaussians, gap apart, is the larger.
    assert 0.53 < np.mean(found.auc) < norm.cdf(0.4 / 2**0.5)


def test_the_shadow_that_is_one_too_many_is_left_out_by_a_coin_of_the_seed():
    members = halves(4000, 8, 0)[:7]
    used = balanced(members, 0)
    assert (members & used).sum(0).tolist() == (~members & used).sum(0).tolist() == [3] * 4000
    assert torch.equal(used, balanced(members, 0))
    assert not torch.equal(used, balanced(members, 1))
    dropped = (~used).sum(0)
    assert dropped.tolist() == [1] * 4000
    shares = (~used).double().mean(1)
    assert float((shares - 1 / 7).abs().max()) < 0.03, "each network is left out as often"


def test_shadows_that_are_not_used_change_no_score():
    members = halves(200, 8, 0)[1:]
    said, used = torch.randn(8, 200, generator=torch.Generator().manual_seed(0)).double(), balanced(members, 0)
    rubbish = torch.where(used, said[1:], 1e3)
    for mode in ("online", "offline"):
        scores = [Lira(mode).scores(said[0], one, members, used) for one in (said[1:], rubbish)]
        assert torch.equal(*scores)
        assert not torch.equal(scores[0], Lira(mode).scores(said[0], said[1:], members))


def test_what_a_threshold_for_all_rows_cannot_see_the_attack_does():
    said, members = planted(gap=3.0)
    plain, attack = (
        roc(scores, members[-1]).tpr[0.01] for scores in (said[-1], Lira().scores(said[-1], said[:-1], members[:-1]))
    )
    assert attack > 5 * plain


def test_scores_are_the_gaussian_formulas_written_out():
    said, members = planted(rows=6, models=9)
    target, shadows, inside = said[-1], said[:-1], members[:-1]
    online = Lira(variance="per-example").scores(target, shadows, inside)
    offline = Lira("offline", "per-example").scores(target, shadows, inside)
    pooled = Lira(variance="global").scores(target, shadows, inside)
    spread = {}
    for side, chosen in (("in", inside), ("out", ~inside)):
        residuals = [shadows[chosen[:, i], i] - shadows[chosen[:, i], i].mean() for i in range(6)]
        spread[side] = (sum(float(r.square().sum()) for r in residuals) / sum(len(r) - 1 for r in residuals)) ** 0.5
    for i in range(6):
        a, b = shadows[inside[:, i], i].numpy(), shadows[~inside[:, i], i].numpy()
        t = float(target[i])
        expected = norm.logpdf(t, a.mean(), a.std(ddof=1)) - norm.logpdf(t, b.mean(), b.std(ddof=1))
        assert float(online[i]) == pytest.approx(expected)
        assert float(offline[i]) == pytest.approx(norm.logcdf((t - b.mean()) / b.std(ddof=1)))
        wide = norm.logpdf(t, a.mean(), spread["in"]) - norm.logpdf(t, b.mean(), spread["out"])
        assert float(pooled[i]) == pytest.approx(wide)


def test_the_variance_is_one_for_all_rows_while_shadows_are_few():
    said, members = planted(rows=50, models=17)
    arguments = (said[-1], said[:-1], members[:-1])
    assert torch.equal(Lira().scores(*arguments), Lira(variance="global").scores(*arguments))
    said, members = planted(rows=50, models=65)
    arguments = (said[-1], said[:-1], members[:-1])
    assert torch.equal(Lira().scores(*arguments), Lira(variance="per-example").scores(*arguments))


def test_rates_and_area_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    member = rng.random(3000) < 0.4
    scores = np.round(rng.normal(size=3000) + member, 1)  # many ties
    found = roc(torch.from_numpy(scores), torch.from_numpy(member))
    fpr, tpr, _ = roc_curve(member, scores, drop_intermediate=False)
    for rate, value in found.tpr.items():
        assert value == pytest.approx(tpr[fpr <= rate].max())
    assert found.auc == pytest.approx(roc_auc_score(member, scores))
    assert found.resolved(0.001)
    assert not roc(torch.arange(100.0), torch.arange(100) > 50).resolved(0.001)


def test_too_few_shadows_and_shapes_that_do_not_fit_are_refused():
    said, members = planted(rows=20, models=5)
    few = members[:2]
    with pytest.raises(ConfigError, match=r"2 shadow networks(.|\n)*at least 2 trained without(.|\n)*attack offline"):
        Lira().scores(said[-1], said[:2], few)
    with pytest.raises(ConfigError, match=r"target \[5\], shadows \[4, 20\](.|\n)*same n rows"):
        _require(said[-1][:5], said[:-1], members[:-1])
    broken = said.clone()
    broken[0, 0] = torch.nan
    with pytest.raises(ConfigError, match="NaN"):
        Lira().scores(said[-1], broken[:-1], members[:-1])
    with pytest.raises(ConfigError, match="0 others"):
        roc(torch.ones(5), torch.ones(5, dtype=torch.bool))
